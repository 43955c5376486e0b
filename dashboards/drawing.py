"""What Grafana wants of a dashboard, so that `by_prometheus` and `by_sql` only say what is asked and how it looks."""

import json
from typing import Any

Panel = dict[str, Any]

PROMETHEUS, INFINITY = "prometheus", "yesoreyeram-infinity-datasource"
# The version of the dashboards' own format that Grafana 11 to 13 read as it is.
SCHEMA = 39
COLUMNS = 24

# Series of the chosen gateway; of these, those that lead to chosen providers and models.
JOB = 'job=~"$job"'
OWN = f'{JOB},gateway_provider=~"$provider",gen_ai_request_model=~"$model"'
ASKED = f'{JOB},gen_ai_request_model=~"$model"'
GOOD = f'{ASKED},error_type=""'
RATE = "[$__rate_interval]"


def percentile(part: float, metric: str, labels: str, by: str = "") -> str:
    """Return the query of a percentile of a histogram."""
    return f"histogram_quantile({part}, sum by (le{by and ', ' + by}) (rate({metric}_bucket{{{labels}}}{RATE})))"


def rate(metric: str, labels: str = JOB, by: str = "") -> str:
    """Return the query of how fast a counter grows, in a second."""
    return f"sum{by and f' by ({by})'} (rate({metric}{{{labels}}}{RATE}))"


def percentiles(metric: str, labels: str) -> list[tuple[str, str]]:
    """Return the three that are looked at."""
    return [(percentile(part, metric, labels), f"p{round(part * 100)}") for part in (0.5, 0.95, 0.99)]


def panel(title: str, kind: str, unit: str, width: int, targets: list[dict[str, Any]], **more: Any) -> Panel:
    """Return a panel without its place."""
    custom: dict[str, Any] = {}
    if kind == "timeseries":
        custom = {
            "drawStyle": "line",
            "lineWidth": 1,
            "fillOpacity": 20 if more.get("stacked") else 5,
            "showPoints": "never",
            "spanNulls": False,
            "stacking": {"mode": "normal" if more.get("stacked") else "none", "group": "A"},
        }
    options = {
        "timeseries": {
            "legend": {
                "displayMode": "table",
                "placement": "bottom",
                "calcs": ["mean", "lastNotNull"],
                "showLegend": True,
            },
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
        "stat": {
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            "colorMode": "value",
            "graphMode": "area",
            "textMode": "auto",
        },
        "table": {"showHeader": True, "cellHeight": "sm", "footer": {"show": False}},
        "heatmap": {
            "calculate": False,
            "yAxis": {"unit": unit},
            "color": {"mode": "scheme", "scheme": "Oranges", "steps": 64},
            "cellGap": 1,
            "tooltip": {"mode": "single"},
        },
    }[kind]
    return {
        "title": title,
        "description": more.get("about", ""),
        "type": kind,
        "width": width,
        "height": more.get("height", 4 if kind == "stat" else 8),
        "fieldConfig": {
            "defaults": {
                "unit": unit,
                "min": 0 if kind == "timeseries" else None,
                "custom": custom,
                "noValue": "-",
                "color": {"mode": "palette-classic" if kind == "timeseries" else "thresholds"},
                "thresholds": {"mode": "absolute", "steps": more.get("steps", [{"color": "green", "value": None}])},
            },
            "overrides": more.get("overrides", []),
        },
        "options": options,
        "targets": targets,
        "transformations": more.get("transformations", []),
    }


def promql(title: str, kind: str, unit: str, width: int, *queries: str | tuple[str, str], **more: Any) -> Panel:
    """Return a panel that asks Prometheus; a query may have a legend beside it."""
    targets = []
    for index, query in enumerate(queries):
        expression, legend = query if isinstance(query, tuple) else (query, "__auto")
        target: dict[str, Any] = {
            "refId": chr(ord("A") + index),
            "expr": expression,
            "legendFormat": legend,
            "range": kind != "table",
            "instant": kind == "table",
            "exemplar": kind == "timeseries" and "_bucket" in expression,
            "format": {"table": "table", "heatmap": "heatmap"}.get(kind, "time_series"),
            "editorMode": "code",
        }
        targets.append(target)
    if kind == "table":
        more["transformations"] = [{"id": "organize", "options": {"excludeByName": {"Time": True}}}]
    return panel(title, kind, unit, width, targets, **more)


def asked(sql: str, columns: list[tuple[str, str]], form: str) -> dict[str, Any]:
    """Return what Infinity is told: the query as the body of POST /-/sql, and the columns to take out of the answer."""
    body = {"sql": " ".join(sql.split()), "limit": 10_000, "objects": True}
    return {
        "type": "json",
        "source": "url",
        "parser": "backend",
        "format": form,
        "url": "/-/sql",
        "url_options": {
            "method": "POST",
            "body_type": "raw",
            "body_content_type": "application/json",
            "data": json.dumps(body),
        },
        "root_selector": "rows",
        "columns": [{"selector": name, "text": name, "type": kind} for name, kind in columns],
        "filters": [],
    }


# The time range of the dashboard, and points of it that can be told apart.
WHEN = "started_at BETWEEN make_timestamp_ms(${__from}) AND make_timestamp_ms(${__to})"
TIME = "epoch_ms(time_bucket(to_milliseconds($__interval_ms), started_at)) AS time"
MODEL = "coalesce(request_model, '-') IN ('', ${model:sqlstring})"  # '': where no model is known yet
COLUMN_TYPES = {"time": "timestamp_epoch"}


def sql(title: str, kind: str, unit: str, width: int, query: str, *names: str, **more: Any) -> Panel:
    """Return a panel that asks by SQL. `names`: the columns of the answer; one that ends in `:text` is no number."""
    columns = []
    for name in names:
        bare, _, said = name.partition(":")
        columns.append((bare, COLUMN_TYPES.get(bare, "string" if said == "text" else "number")))
    form = "timeseries" if kind == "timeseries" else "table"
    return panel(title, kind, unit, width, [{"refId": "A", **asked(query, columns, form)}], **more)


def datasource_variable(kind: str, label: str) -> dict[str, Any]:
    """Return the variable that says which data source is asked."""
    return {
        "name": "datasource",
        "label": label,
        "type": "datasource",
        "query": kind,
        "regex": "",
        "multi": False,
        "includeAll": False,
        "refresh": 1,
        "current": {},
        "options": [],
        "hide": 0,
    }


def variable(name: str, label: str, kind: str, query: Any, definition: str, **more: Any) -> dict[str, Any]:
    """Return a variable whose values are asked for."""
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": {"type": kind, "uid": "${datasource}"},
        "query": query,
        "definition": definition,
        "refresh": 2,
        "sort": 1,
        "regex": "",
        "multi": True,
        "includeAll": True,
        "current": {"text": ["All"], "value": ["$__all"]},
        "options": [],
        "hide": 0,
        **more,
    }


def of_prometheus(name: str, label: str, definition: str, **more: Any) -> dict[str, Any]:
    """Return a variable whose values are those of a label."""
    query = {"qryType": 1, "query": definition, "refId": f"variable-{name}"}
    return variable(name, label, PROMETHEUS, query, definition, **more)


def of_sql(name: str, label: str, query: str) -> dict[str, Any]:
    """Return a variable whose values a query gives, in the column `value`."""
    told = {"refId": "variable", "queryType": "infinity", "query": "", "infinityQuery": None}
    told["infinityQuery"] = {"refId": "variable", **asked(query, [("value", "string")], "table")}
    return variable(name, label, INFINITY, told, f"Infinity- {name}")


def placed(rows: list[tuple[str, list[Panel]]], kind: str) -> list[Panel]:
    """Return the panels of titled rows, each at its place, left to right and down."""
    panels: list[Panel] = []
    y = 0
    for title, row in rows:
        panels.append(
            {
                "id": len(panels) + 1,
                "type": "row",
                "title": title,
                "collapsed": False,
                "gridPos": {"h": 1, "w": COLUMNS, "x": 0, "y": y},
                "panels": [],
            }
        )
        y += 1
        x = tallest = 0
        for each in row:
            width, height = each.pop("width"), each.pop("height")
            if x + width > COLUMNS:
                x, y, tallest = 0, y + tallest, 0
            source = {"type": kind, "uid": "${datasource}"}
            each["targets"] = [target | {"datasource": source} for target in each["targets"]]
            place = {"h": height, "w": width, "x": x, "y": y}
            panels.append({"id": len(panels) + 1, "datasource": source, "gridPos": place, **each})
            x, tallest = x + width, max(tallest, height)
        y += tallest
    return panels


def dashboard(uid: str, title: str, about: str, kind: str, panels: list[Panel], variables: list[Any]) -> dict[str, Any]:
    """Return a dashboard."""
    return {
        "uid": uid,
        "title": title,
        "description": about,
        "tags": ["tracing-gateway", "llm"],
        "schemaVersion": SCHEMA,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "timepicker": {},
        "timezone": "browser",
        "annotations": {"list": []},
        "links": [],
        "templating": {"list": [datasource_variable(kind, "Data source"), *variables]},
        "panels": panels,
    }
