package org.nnlite.benchmark;

import java.util.Collection;
import java.util.stream.Collectors;
import javax.inject.Inject;
import org.robolectric.internal.dependency.DependencyResolver;
import org.robolectric.pluginapi.Sdk;
import org.robolectric.plugins.DefaultSdkProvider;

/**
 * Knows the framework of the enabled API level alone: Robolectric would also open the newest framework that it
 * knows, for the resources that an app without legacy resources is compiled with.
 */
public final class OneFramework extends DefaultSdkProvider {
  @Inject
  public OneFramework(DependencyResolver resolver) {
    super(resolver);
  }

  @Override
  public Collection<Sdk> getSdks() {
    int level = Integer.getInteger("robolectric.enabledSdks");
    return super.getSdks().stream()
        .filter(sdk -> sdk.getApiLevel() == level)
        .collect(Collectors.toList());
  }
}
