//! The rules, alerts and dashboard of `deploy/`, in a real Prometheus that reads real daemons.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use clara_runtime::metrics::{METRICS, Metric, MetricKind};
use clara_tests::{Ended, Judge, Process, Prometheus, Sandbox, Script, fetch, until};
use serde_json::Value;

/// Expressions of which these parts have no data while one job goes from ingest to generate in the home folder.
const WITHOUT_DATA: [&str; 7] = [
    // Nobody judges.
    "clara_samples_judged_total",
    "clara_judge_request_duration_seconds",
    // There is no connection to lose.
    "clara_broker_reconnects_total",
    "clara_state_reconnects_total",
    "clara_tasks_malformed_total",
    // The training is over.
    "clara_attempts_active{stage=\"train\"} > 0",
    // No alert has lasted long enough.
    "ALERTS",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

fn dashboard() -> Result<Value> {
    let file = root().join("deploy/grafana/clara.json");
    Ok(serde_json::from_str(&fs::read_to_string(&file).context(file.display().to_string())?)?)
}

fn field<'a>(value: &'a Value, key: &str) -> Result<&'a Value> {
    value.get(key).with_context(|| format!("there is no `{key}` in {value}"))
}

fn list<'a>(value: &'a Value, key: &str) -> Result<&'a Vec<Value>> {
    field(value, key)?.as_array().with_context(|| format!("`{key}` is no list in {value}"))
}

fn text<'a>(value: &'a Value, key: &str) -> Result<&'a str> {
    let found = field(value, key)?.as_str().filter(|text| !text.trim().is_empty());
    found.with_context(|| format!("`{key}` is no text in {value}"))
}

fn number(value: &Value, key: &str) -> Result<u64> {
    field(value, key)?.as_u64().with_context(|| format!("`{key}` is no number in {value}"))
}

/// Every expression of the dashboard, with what Grafana writes for its variable.
fn dashboard_expressions() -> Result<Vec<String>> {
    let dashboard = dashboard()?;
    let mut found = Vec::new();
    for panel in list(&dashboard, "panels")? {
        if text(panel, "type")? == "row" {
            continue;
        }
        for target in list(panel, "targets")? {
            found.push(text(target, "expr")?.replace("$__rate_interval", "5m"));
        }
    }
    for annotation in list(field(&dashboard, "annotations")?, "list")? {
        found.push(text(annotation, "expr")?.to_owned());
    }
    ensure!(found.iter().all(|expression| !expression.contains('$')), "an unknown variable: {found:?}");
    Ok(found)
}

/// What `promtool` says to these arguments.
fn promtool(args: &[&str], input: &str) -> Result<Ended> {
    let mut command = Command::new("promtool");
    command.args(args).current_dir(Prometheus::files());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().context("promtool is missing; run scripts/setup.sh test")?;
    child.stdin.take().context("promtool takes no input")?.write_all(input.as_bytes())?;
    Ended::of(child.wait_with_output()?)
}

#[test]
fn the_rules_pass_their_tests_and_the_example_is_valid() -> Result<()> {
    promtool(&["check", "rules", "--lint-fatal", "clara.rules.yaml"], "")?.expect(0)?;
    promtool(&["check", "config", "--lint-fatal", "prometheus.yaml"], "")?.expect(0)?;
    promtool(&["test", "rules", "clara.rules.test.yaml"], "")?.expect(0)?;
    Ok(())
}

#[test]
fn each_alert_is_tested_to_fire_and_to_keep_silent() -> Result<()> {
    let tests = fs::read_to_string(Prometheus::files().join("clara.rules.test.yaml"))?;
    for alert in names_after("- alert: ")? {
        let named: Vec<&str> =
            tests.lines().filter(|line| line.contains(&format!("alertname=\"{alert}\""))).collect();
        let silent = named.iter().any(|line| line.contains("exp_samples: []"));
        let fires = named.iter().any(|line| line.contains("- labels: ALERTS") && line.contains("\"firing\""));
        ensure!(silent && fires, "{alert} is not tested in both ways:\n{}", named.join("\n"));
    }
    Ok(())
}

/// What the rules give names to.
fn names_after(key: &str) -> Result<Vec<String>> {
    let rules = fs::read_to_string(Prometheus::files().join("clara.rules.yaml"))?;
    let found: Vec<String> =
        rules.lines().filter_map(|line| Some(line.trim().strip_prefix(key)?.to_owned())).collect();
    ensure!(!found.is_empty(), "the rules have no `{key}`");
    Ok(found)
}

/// The names under which Prometheus keeps a metric.
fn series_of(metric: &Metric) -> Vec<String> {
    match metric.kind {
        MetricKind::Counter | MetricKind::Gauge => vec![metric.name.to_owned()],
        MetricKind::Histogram => {
            ["bucket", "count", "sum"].map(|part| format!("{}_{part}", metric.name)).into()
        }
    }
}

#[test]
fn rules_and_dashboard_name_metrics_that_exist() -> Result<()> {
    let mut known: BTreeSet<String> = METRICS.iter().flat_map(series_of).collect();
    known.extend(names_after("- record: ")?);
    let rules = fs::read_to_string(Prometheus::files().join("clara.rules.yaml"))?;
    let expressions = [vec![rules], dashboard_expressions()?].concat().join("\n");
    let names = expressions.split(|letter: char| !(letter.is_ascii_alphanumeric() || "_:".contains(letter)));
    let unknown: BTreeSet<&str> =
        names.filter(|name| name.contains("clara_") && !known.contains(*name)).collect();
    ensure!(unknown.is_empty(), "neither in the table of metrics nor recorded by a rule: {unknown:?}");
    Ok(())
}

#[test]
fn the_dashboard_has_the_shape_that_grafana_reads() -> Result<()> {
    let dashboard = dashboard()?;
    text(&dashboard, "uid")?;
    text(&dashboard, "title")?;
    ensure!(number(&dashboard, "schemaVersion")? >= 36, "older than the references to a data source");
    let [variable] = list(&dashboard["templating"], "list")?.as_slice() else {
        anyhow::bail!("expected one variable, the data source");
    };
    ensure!(variable["type"] == "datasource" && variable["query"] == "prometheus", "{variable}");
    let source = format!("${{{}}}", text(variable, "name")?);
    let (mut ids, mut taken) = (BTreeSet::new(), BTreeMap::new());
    for panel in list(&dashboard, "panels")? {
        ensure!(ids.insert(number(panel, "id")?), "the id is used twice: {panel}");
        let title = text(panel, "title")?;
        let place = ["x", "y", "w", "h"].map(|side| number(&panel["gridPos"], side));
        let [Ok(x), Ok(y), Ok(w), Ok(h)] = place else { anyhow::bail!("{title} has no place") };
        ensure!(x + w <= 24 && w > 0 && h > 0, "{title} goes beyond the 24 columns");
        for cell in (x..x + w).flat_map(|column| (y..y + h).map(move |line| (column, line))) {
            let other = taken.insert(cell, title);
            ensure!(other.is_none(), "{title} lies over {other:?} at {cell:?}");
        }
        let kind = text(panel, "type")?;
        if kind == "row" {
            continue;
        }
        ensure!(["heatmap", "stat", "timeseries"].contains(&kind), "{title} has the unexpected type {kind}");
        ensure!(panel["datasource"]["uid"] == source.as_str(), "{title} does not use {source}");
        let mut names = BTreeSet::new();
        for target in list(panel, "targets")? {
            ensure!(names.insert(text(target, "refId")?), "{title} has two targets of one name");
            text(target, "legendFormat")?;
            ensure!((kind == "heatmap") == (target["format"] == "heatmap"), "{title}: wrong format");
        }
        ensure!(!names.is_empty(), "{title} shows nothing");
    }
    Ok(())
}

/// A daemon, and where its metrics are.
fn daemon(sandbox: &Sandbox, name: &str, args: &[&str]) -> Result<(Process, String)> {
    let args = [args, &["--http", "127.0.0.1:0"]].concat();
    let log = sandbox.path(&format!("{name}.log"));
    let mut process = Process::start(&mut sandbox.program(name, &args)?, log)?;
    let page = process.says("/metrics at http://")?;
    Ok((process, page))
}

#[test]
fn a_prometheus_reads_daemons_and_evaluates_rules_and_dashboard() -> Result<()> {
    let (sandbox, judge) = (Sandbox::new(6)?, Judge::start(Script::Score(8))?);
    let (mut coordinator, coordinator_page) = daemon(&sandbox, "coordinator", &["--listen", "127.0.0.1:0"])?;
    let url = coordinator.says("coordinator serves workers and users at ")?;
    let (_ingest, ingest_page) = daemon(&sandbox, "ingest-worker", &["--coordinator", &url])?;
    let (_gpu, gpu_page) = daemon(&sandbox, "gpu-worker", &["run", "--coordinator", &url])?;
    let prometheus = Prometheus::start(&[
        ("clara-coordinator", &coordinator_page),
        ("clara-ingest-worker", &ingest_page),
        ("clara-gpu-worker", &gpu_page),
    ])?;
    prometheus.until_shown("count(up == 1) == 3")?;
    // Without a judge-worker the job waits once its answers are there.
    let args = sandbox.run_args(&["--coordinator", &url, "--judge-url", &judge.url()]);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let mut job = Process::start(&mut sandbox.command(&args)?, sandbox.path("job.log"))?;
    job.says("answer")?;
    prometheus.until_shown("clara_stage_attempts_total{stage=\"generate\",outcome=\"completed\"} == 1")?;
    prometheus.until_shown(
        "ALERTS{alertname=\"ClaraNoWorker\",alertstate=\"pending\",queue=\"clara.judge.default.normal\"}",
    )?;
    rules_are_evaluated(&prometheus)?;
    for expression in dashboard_expressions()? {
        let shown = if WITHOUT_DATA.iter().any(|metric| expression.contains(metric)) {
            prometheus.query(&expression)
        } else {
            prometheus.until_shown(&expression)
        };
        shown.with_context(|| format!("the dashboard asks {expression}"))?;
    }
    for page in [coordinator_page, ingest_page, gpu_page] {
        promtool(&["check", "metrics"], &fetch(&page, "/metrics")?)?.expect(0)?;
    }
    Ok(())
}

/// Every rule is evaluated without an error, every recorded one has data, and every alert has its page.
fn rules_are_evaluated(prometheus: &Prometheus) -> Result<()> {
    let pages = fs::read_to_string(root().join("docs/operations.md"))?;
    let rules = until("all rules to be evaluated", || {
        let data = prometheus.api("rules")?;
        let groups = list(&data, "groups")?.iter().map(|group| list(group, "rules"));
        let rules: Vec<Value> = groups.collect::<Result<Vec<_>>>()?.into_iter().flatten().cloned().collect();
        let unknown = rules.iter().any(|rule| text(rule, "health").is_ok_and(|health| health == "unknown"));
        Ok((!unknown).then_some(rules))
    })?;
    let names = [names_after("- record: ")?, names_after("- alert: ")?].concat();
    ensure!(rules.len() == names.len(), "{} rules are loaded of {names:?}", rules.len());
    for rule in &rules {
        let name = text(rule, "name")?;
        ensure!(text(rule, "health")? == "ok", "{name} cannot be evaluated: {rule}");
        if text(rule, "type")? == "recording" {
            prometheus.until_shown(name)?;
            continue;
        }
        let says = field(rule, "annotations")?;
        text(says, "summary")?;
        text(says, "description")?;
        let severity = text(field(rule, "labels")?, "severity")?;
        ensure!(["critical", "warning"].contains(&severity), "{name} has the severity {severity}");
        let page = format!("docs/operations.md#{}", name.to_lowercase());
        ensure!(text(says, "runbook_url")? == page, "{name} does not lead to {page}");
        ensure!(pages.contains(&format!("\n### {name}\n")), "docs/operations.md has no section {name}");
    }
    alerts_are_readable(prometheus)
}

/// The texts of alerts that are raised have values in them.
fn alerts_are_readable(prometheus: &Prometheus) -> Result<()> {
    let data = prometheus.api("alerts")?;
    let mut summaries = String::new();
    for alert in list(&data, "alerts")? {
        let texts = field(alert, "annotations")?;
        let readable = !["{{", "<error"].iter().any(|fault| texts.to_string().contains(fault));
        ensure!(readable, "a text was not filled in: {texts}");
        summaries.push_str(text(texts, "summary")?);
    }
    ensure!(summaries.contains("Tasks wait in clara.judge.default.normal"), "not told: {summaries}");
    Ok(())
}
