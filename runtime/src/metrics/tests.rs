//! Names keep the rules, the documentation shows them all, and recording them shows on the page.

use super::*;

fn kind_name(kind: MetricKind) -> &'static str {
    match kind {
        MetricKind::Counter => "counter",
        MetricKind::Gauge => "gauge",
        MetricKind::Histogram => "histogram",
    }
}

fn table_row(metric: &Metric) -> String {
    let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
    format!(
        "| `{}` | {} | {} | {} |",
        metric.name,
        kind_name(metric.kind),
        labels.join(", "),
        metric.description
    )
}

#[test]
fn the_table_in_the_documentation_shows_every_metric_and_no_other() {
    let documented = include_str!("../../../docs/metrics.md");
    let rows: Vec<&str> = documented.lines().filter(|line| line.starts_with("| `")).collect();
    let wanted: Vec<String> = METRICS.iter().map(table_row).collect();
    assert_eq!(rows, wanted, "write docs/metrics.md so:\n{}", wanted.join("\n"));
}

#[test]
fn names_say_project_unit_and_kind() {
    for Metric { name, kind, description, .. } in METRICS {
        assert!(name.starts_with("clara_"), "{name}");
        assert!(description.ends_with('.'), "{name}");
        assert_eq!(name.ends_with("_total"), *kind == MetricKind::Counter, "{name}");
        assert!(*kind != MetricKind::Histogram || name.ends_with("_seconds"), "{name}");
    }
}

#[test]
fn what_is_recorded_shows_on_the_page() {
    let page = install().unwrap();
    attempt_began(Stage::Train);
    attempt_ended(Stage::Train, AttemptOutcome::Completed, Duration::from_secs(90));
    queue_depth(&"clara.judge", QueueDepth { ready: 3, unacknowledged: 1 });
    let again = install().unwrap();
    for line in [
        "clara_stage_attempts_total{stage=\"train\",outcome=\"completed\"} 1",
        "clara_stage_duration_seconds_bucket{stage=\"train\",le=\"300\"} 1",
        "clara_queue_messages{queue=\"clara.judge\"} 3",
        "# HELP clara_stage_duration_seconds Time from claim to end of an attempt.",
    ] {
        for text in [page.render(), again.render()] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
    }
}

#[test]
fn figures_of_a_training_and_the_memory_show_on_the_page() {
    let page = install().unwrap();
    let figures = TRAINING.map(|(figure, _)| (figure.to_owned(), 0.125));
    training(&figures.into());
    training(&[("loss".to_owned(), 0.5), ("tokens_per_second".to_owned(), 7.0)].into());
    let text = page.render();
    for line in ["clara_train_loss 0.5", "clara_train_grad_norm 0.125", "clara_train_left_seconds 0.125"] {
        assert!(text.contains(line), "{line} is missing in\n{text}");
    }
    assert_eq!(text.contains("clara_process_resident_bytes "), cfg!(target_os = "linux"));
}

#[test]
fn what_may_happen_is_counted_from_zero_on() {
    let page = install().unwrap();
    worker_started(Stage::Ingest);
    coordinator_started();
    let text = page.render();
    for line in [
        "clara_stage_attempts_total{stage=\"ingest\",outcome=\"failed\"} 0",
        "clara_claims_refused_total{stage=\"ingest\"} 0",
        "clara_attempts_active{stage=\"ingest\"} 0",
        "clara_leases_expired_total{stage=\"judge\"} 0",
        "clara_commit_conflicts_total 0",
    ] {
        assert!(text.contains(line), "{line} is missing in\n{text}");
    }
}
