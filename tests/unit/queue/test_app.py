"""Queues, priorities and configuration of the Celery application."""

import pytest
from redis.exceptions import NoPermissionError

from nnlite.errors import NnliteError, Unavailable
from nnlite.queue.app import (
    PRIORITIES,
    SEPARATOR,
    benchmark_queue,
    broker_priority,
    client_name,
    create_app,
    priority_lists,
    queues_of_client,
    task_name,
)
from nnlite.queue.messages import BrokerClient
from nnlite.settings import Settings
from nnlite.settings.groups import QueueSettings
from nnlite.vocabulary import CAMPAIGN_KINDS, DEFAULT_PRIORITY

POOL = "benchmark.Büro, 2=%"


@pytest.fixture
def app():
    settings = Settings(queue=QueueSettings(visibility_timeout_s=123456), broker_timeout_s=3, _env_file=None)
    app = create_app("redis://127.0.0.1:1/0", settings, ["convert"])
    yield app
    app.close()


def test_a_larger_priority_is_served_sooner():
    served_first = sorted(PRIORITIES, key=broker_priority)
    assert served_first == [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]
    assert [broker_priority(priority) for priority in (9, DEFAULT_PRIORITY, 0)] == [0, 4, 9]


def test_every_priority_has_a_list_and_the_most_urgent_has_the_queues_name():
    assert priority_lists("convert")[:2] == ["convert", f"convert{SEPARATOR}1"]
    assert len(set(priority_lists("convert"))) == len(PRIORITIES)


def test_each_pool_has_a_queue_of_its_own():
    assert benchmark_queue("pixel4-api30") != benchmark_queue("host") != "convert"


def test_each_kind_of_work_with_messages_has_a_task():
    assert {task_name(kind) for kind in CAMPAIGN_KINDS} == {"nnlite.convert", "nnlite.benchmark"}


def test_a_message_is_redelivered_when_its_worker_dies_and_not_before_its_deadline(app):
    conf = app.conf
    assert conf.task_acks_late and conf.task_reject_on_worker_lost
    assert conf.worker_prefetch_multiplier == 1
    assert conf.broker_transport_options["visibility_timeout"] == 123456
    assert conf.result_backend_transport_options["visibility_timeout"] == 123456
    assert conf.visibility_timeout == 123456
    assert conf.broker_connection_max_retries is None


def test_workers_name_their_connections_after_their_queues_and_others_do_not(app):
    assert app.conf.broker_transport_options["client_name"] == client_name(["convert"])
    sender = create_app("redis://127.0.0.1:1/0", Settings(_env_file=None))
    assert "client_name" not in sender.conf.broker_transport_options
    sender.close()
    name = client_name(["convert", POOL])
    assert all("!" <= letter <= "~" for letter in name), "what Redis takes as a name"
    assert queues_of_client(name) == ["convert", POOL]
    assert queues_of_client("grafana") == queues_of_client("") == []


def test_queues_of_this_database_whose_workers_are_heard_are_served(monkeypatch):
    clients = [
        {"name": client_name(["convert"]), "idle": "0", "db": "3"},
        {"name": client_name([POOL]), "idle": "59", "db": "3"},
        {"name": client_name(["benchmark.of-another-lab"]), "idle": "0", "db": "0"},
        {"name": client_name(["benchmark.switched-off"]), "idle": "60", "db": "3"},
        {"name": "", "idle": "0", "db": "3"},
    ]
    monkeypatch.setattr("redis.Redis.client_list", lambda _: clients)
    assert BrokerClient("redis://127.0.0.1:1/3", timeout_s=1).served_queues() == {"convert", POOL}


def test_an_account_that_may_not_list_clients_is_said(monkeypatch):
    def refused(_):
        raise NoPermissionError("this user has no permissions to run 'client|list'")

    monkeypatch.setattr("redis.Redis.client_list", refused)
    with pytest.raises(Unavailable, match=r"^Redis does not say which workers run: this user has no"):
        BrokerClient("redis://127.0.0.1:1/0", timeout_s=1).served_queues()


def test_a_broker_with_tls_is_verified_by_celery_and_flower_too():
    settings = Settings(_env_file=None)
    for query, expected in {
        "": {"ssl_cert_reqs": "required"},
        "?ssl_ca_certs=/etc/ca.crt&ssl_cert_reqs=none": {
            "ssl_cert_reqs": "none",
            "ssl_ca_certs": "/etc/ca.crt",
        },
    }.items():
        app = create_app(f"rediss://127.0.0.1:1/0{query}", settings)
        assert app.conf.broker_use_ssl == expected
        app.close()


def test_a_broker_without_tls_is_asked_for_none(app):
    assert app.conf.broker_use_ssl is False


def test_a_certificate_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(NnliteError, match=f"ssl_ca_certs={tmp_path}/ca.crt cannot be read"):
        BrokerClient(f"rediss://127.0.0.1:1/0?ssl_ca_certs={tmp_path}/ca.crt", timeout_s=1)


def test_only_json_is_accepted_and_celery_stores_no_results(app):
    assert (app.conf.task_serializer, app.conf.accept_content) == ("json", ["json"])
    assert app.conf.task_ignore_result and not app.conf.task_store_errors_even_if_ignored
