"""The dashboards, and what brings them up: each query is run by a real Prometheus, or by the gateway's own SQL."""

import asyncio
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
import yaml

from gateway.cli.demo import send
from gateway.store.metrics.exposition import sample_names
from gateway.store.metrics.instruments import FOLDED, OBSERVED
from tests.support.collector import ROOT
from tests.support.gateways import Process
from tests.support.prometheus import Prometheus
from tests.support.raw_http import exchange, request

pytestmark = pytest.mark.integration

FOLDER = ROOT / "dashboards"
BY_PROMETHEUS = json.loads((FOLDER / "gateway-prometheus.json").read_text())
BY_SQL = json.loads((FOLDER / "gateway-sql.json").read_text())
DASHBOARDS = {"prometheus": BY_PROMETHEUS, "yesoreyeram-infinity-datasource": BY_SQL}
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())

METRICS = {name: instrument for instrument in (*FOLDED, *OBSERVED) for name in sample_names(instrument)}
# What nothing came of by the time that a panel is looked at, in a gateway that is well and has no collector.
MAY_BE_EMPTY = {"Fallbacks, to", "Spans to the collector", "Lost, by reason", "Behind", "What applications tell"}


def panels(dashboard: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the panels that show something."""
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def test_what_is_committed_is_what_is_generated():
    """`python dashboards/generate.py` makes the very files."""
    code = "import json, generate; print(json.dumps(generate.texts()))"
    done = subprocess.run([sys.executable, "-B", "-c", code], cwd=FOLDER, capture_output=True, text=True, check=True)
    for name, text in json.loads(done.stdout).items():
        assert (FOLDER / name).read_text() == text, f"{name} is old: python dashboards/generate.py"


@pytest.mark.parametrize("kind", DASHBOARDS)
def test_a_dashboard_can_be_provisioned(kind):
    """Its data source is a variable, nothing is asked at import, and its panels are of kinds that Grafana still has."""
    dashboard = DASHBOARDS[kind]
    assert not {"__inputs", "__requires", "id"} & dashboard.keys()
    source = {"type": kind, "uid": "${datasource}"}
    first, *others = dashboard["templating"]["list"]
    assert (first["name"], first["type"], first["query"]) == ("datasource", "datasource", kind)
    assert all(each["datasource"] == source for each in others)
    assert {panel["type"] for panel in panels(dashboard)} <= {"timeseries", "stat", "table", "heatmap"}
    for panel in panels(dashboard):
        assert panel["datasource"] == source
        assert panel["targets"]
        assert all(target["datasource"] == source for target in panel["targets"])
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
        assert panel["fieldConfig"]["defaults"]["unit"]
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("kind", DASHBOARDS)
def test_panels_do_not_overlap(kind):
    """Each has its place on the grid of 24 columns."""
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARDS[kind]["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells


def queries() -> list[tuple[str, str]]:
    """Return the title and expression of all that Prometheus is asked."""
    return [(panel["title"], target["expr"]) for panel in panels(BY_PROMETHEUS) for target in panel["targets"]]


def test_every_metric_and_label_that_is_asked_for_is_emitted():
    """By the table of instruments, so that no panel is empty for a name that was changed."""
    definitions = [each["definition"] for each in BY_PROMETHEUS["templating"]["list"][1:]]
    asked = set()
    for text in (*(expression for _, expression in queries()), *definitions):
        for name, labels in re.findall(r"\b([a-z][a-z0-9_]*)\{([^}]*)\}", text):
            assert name in METRICS, name
            asked.add(name)
            known = {label.replace(".", "_") for label in METRICS[name].labels} | {"job", "le"}
            assert set(re.findall(r'(\w+)(?:=~|!~|!=|=)"', labels)) <= known, (name, labels)
        for by in re.findall(r"by \(([^)]*)\)", text):
            every = {label.replace(".", "_") for each in METRICS.values() for label in each.labels} | {"le"}
            assert set(by.split(", ")) <= every
    unused = {instrument.name for instrument in METRICS.values()} - {METRICS[name].name for name in asked}
    assert unused == {
        # The first is the time to first chunk in other buckets; the next are parts of what is shown.
        "gen_ai.server.time_to_first_token",
        "gateway.usage.cache_write",
        "gateway.usage.reasoning",
        "gateway.exchange.drained",  # by a setting that is off by default
    }


def filled(text: str, job: str = "gateway") -> str:
    """Put values in the place of Grafana's variables."""
    values = {"job": job, "provider": ".*", "model": ".*", "__rate_interval": "30s", "__range": "1h"}
    return re.sub(r"\$(\w+)", lambda match: values[match.group(1)], text)


@pytest.mark.timeout(900)
async def test_every_query_is_run_by_prometheus(tmp_path):
    """While it scrapes a gateway under demo traffic: each is good PromQL, and has an answer where there is any."""
    async with Process(tmp_path, workers=2) as gateway:
        target = gateway.url.removeprefix("http://")
        scrape = f"{{job_name: gateway, metrics_path: /-/metrics, static_configs: [{{targets: ['{target}']}}]}}"
        with Prometheus(tmp_path, f"scrape_configs: [{scrape}]\n") as prometheus:
            for _ in range(3):  # a counter must be seen to grow
                await send(gateway.url, 9, lambda _done, _all: None)
                seen = prometheus.until("sum(gateway_exchange_ended_total)")
                await asyncio.sleep(1.5)
            assert seen
            empty = set()
            for title, expression in queries():
                series = prometheus.ask(filled(expression))
                numbers = [each["value"][1] for each in series]
                if not numbers or all(number == "NaN" for number in numbers):
                    empty.add(title)
            for each in BY_PROMETHEUS["templating"]["list"][1:]:
                found = re.fullmatch(r"label_values\((.*), (\w+)\)", filled(each["definition"]))
                assert found
                assert prometheus.get(f"label/{found.group(2)}/values", **{"match[]": found.group(1)})
            (lost,) = [expression for title, expression in queries() if title == "Unaccounted exchanges"]
            assert [each["value"][1] for each in prometheus.ask(filled(lost))] == ["0"]
            up = prometheus.ask('up{job="gateway"}')
    assert empty <= MAY_BE_EMPTY
    assert [each["value"][1] for each in up] == ["1"]


def asked_of_the_store() -> Iterator[tuple[str, dict[str, Any]]]:
    """Give what Infinity is told by each panel, and by each variable."""
    for panel in panels(BY_SQL):
        for target in panel["targets"]:
            yield panel["title"], target
    for each in BY_SQL["templating"]["list"][1:]:
        yield each["name"], each["query"]["infinityQuery"]


def grafanas(text: str, models: str = "'chat', 'flaky', 'echo', 'reasoning', 'rate-limited'") -> bytes:
    """Put values in the place of Grafana's variables in a body, as it does before it is sent."""
    now = int(time.time() * 1000)
    values = {
        "${__from}": str(now - 3_600_000),
        "${__to}": str(now + 60_000),
        "$__interval_ms": "15000",
        "${model:sqlstring}": models,
    }
    for name, value in values.items():
        text = text.replace(name, value)
    assert "$" not in text
    return text.encode()


@pytest.mark.timeout(300)
async def test_every_sql_query_is_answered(tmp_path):
    """By a store with demo traffic: all columns that a panel takes are there and of the kind that it takes them for."""
    empty = set()
    async with Process(tmp_path) as gateway:
        await send(gateway.url, 9, lambda _done, _all: None)
        for title, target in asked_of_the_store():
            assert (target["url"], target["url_options"]["method"], target["root_selector"]) == (
                "/-/sql",
                "POST",
                "rows",
            )
            said = await asked(gateway, grafanas(target["url_options"]["data"]))
            assert said["truncated"] is False
            names = [column["selector"] for column in target["columns"]]
            assert said["columns"] == names, title
            for row in said["rows"]:
                for column in target["columns"]:
                    value = row[column["selector"]]
                    kinds = str if column["type"] == "string" else int | float
                    assert value is None or isinstance(value, kinds), (title, column, value)
            if target["format"] == "timeseries":
                times = [row["time"] for row in said["rows"]]
                assert times == sorted(times), title
                assert not times or abs(times[-1] / 1000 - time.time()) < 3600
            if not said["rows"] or all(value is None for row in said["rows"] for value in row.values()):
                empty.add(title)
    assert empty == {"Cost", "Cost by model", "Latest runs"}  # no price is known, and nobody told of a run


async def test_sql_panels_of_an_empty_store_are_empty(tmp_path):
    """Also where no model is known yet to choose from."""
    async with Process(tmp_path) as gateway:
        for title, target in asked_of_the_store():
            said = await asked(gateway, grafanas(target["url_options"]["data"], ""))
            assert said["columns"], title


async def asked(gateway: Process, body: bytes) -> Any:
    """Ask as Infinity does."""
    headers = [("Content-Type", "application/json")]
    data = request("POST", "/-/sql", headers, body).replace(b"Host: test", b"Host: localhost")
    answer = await exchange(gateway.url, data)
    assert answer.status == 200, answer.body
    return msgspec.json.decode(answer.body)


async def test_rows_come_as_objects_where_that_is_asked_for(tmp_path):
    """By the names of the columns; else they are lists, as ever."""
    async with Process(tmp_path) as gateway:
        body = {"sql": "SELECT 1 AS one, 'b' AS two"}
        assert (await asked(gateway, msgspec.json.encode(body)))["rows"] == [[1, "b"]]
        said = await asked(gateway, msgspec.json.encode(body | {"objects": True}))
    assert said == {"columns": ["one", "two"], "rows": [{"one": 1, "two": "b"}], "truncated": False}


def test_what_is_provisioned_fits_together():
    """Kinds of data sources, their ids, the folder of the dashboards, and the variables that the compose file sets."""
    folder = FOLDER / "provisioning"
    texts = {path: path.read_text() for path in folder.rglob("*.yml")}
    sources = yaml.safe_load(texts[folder / "datasources" / "gateway.yml"])["datasources"]
    assert set(DASHBOARDS) <= {source["type"] for source in sources}
    by_uid = {source["uid"]: source for source in sources}
    led_to = by_uid["gateway-prometheus"]["jsonData"]["exemplarTraceIdDestinations"][0]["datasourceUid"]
    assert by_uid[led_to]["type"] == "jaeger"
    grafana = COMPOSE["services"]["grafana"]
    used = {name for text in texts.values() for name in re.findall(r"\$(\w+)", text) if name != "NAME"}
    assert used == {name for name in grafana["environment"] if name.startswith("GATEWAY_")}
    mounted = {volume.split(":")[0] for volume in grafana["volumes"]}
    assert {f"./dashboards/{path.name}" for path in FOLDER.glob("*.json")} | {"./dashboards/provisioning"} == mounted


def test_the_compose_file_pins_and_mounts_what_there_is():
    """Every image has a version, every file that is mounted is here, and nothing listens beyond this machine."""
    for name, service in COMPOSE["services"].items():
        if name != "gateway":
            assert re.search(r":v?\d+\.\d+\.\d+$", service["image"]), service["image"]
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert (ROOT / source).exists() if source.startswith("./") else source in COMPOSE["volumes"]
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
    collector = COMPOSE["services"]["collector"]
    text = (ROOT / "collector-config.yaml").read_text()
    assert set(collector["environment"]) <= set(re.findall(r"\$\{env:(\w+)", text))
    built = (ROOT / "tests" / "tools" / "collector-builder.yaml").read_text()
    version = re.search(r"(?m)^  version: (\S+)", built)
    assert version
    assert collector["image"].endswith(f":{version.group(1)}")  # the one that the tests run
    required = (ROOT / "tests" / "tools" / "prometheus" / "go.mod").read_text()
    minor = re.search(r"prometheus/prometheus v0\.(\d)(\d\d)\.(\d+)", required)
    assert minor
    said = f"v{int(minor.group(1))}.{int(minor.group(2))}.{minor.group(3)}"
    assert COMPOSE["services"]["prometheus"]["image"].endswith(f":{said}")


def test_the_image_is_made_of_what_it_copies():
    """The Dockerfile names files that are there and that .dockerignore lets in, and starts a command that there is."""
    text = (ROOT / "Dockerfile").read_text()
    copied = {name for line in re.findall(r"(?m)^COPY (?!--from)(.*) \S+$", text) for name in line.split()}
    assert all((ROOT / name).exists() for name in copied)
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert copied == allowed
    command = json.loads(re.findall(r"(?m)^CMD (.*)$", text)[-1])
    done = subprocess.run(
        [sys.executable, "-m", "gateway", *command[:1], "--help"], capture_output=True, text=True, check=True, cwd=ROOT
    )
    for option in command[1:]:
        assert not option.startswith("--") or option in done.stdout


@pytest.mark.timeout(900)
def test_prometheus_takes_its_shipped_configuration(tmp_path):
    """dashboards/prometheus.yml, by the version that the compose file names."""
    shipped = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    del shipped["global"]
    with Prometheus(tmp_path, yaml.safe_dump(shipped)) as prometheus:
        running = yaml.safe_load(prometheus.get("status/config")["yaml"])
    assert running["otlp"]["promote_resource_attributes"] == shipped["otlp"]["promote_resource_attributes"]
