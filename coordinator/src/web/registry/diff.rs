//! In what two versions differ, as a page.

mod answers;

use axum::{
    extract::{Query, State},
    response::Response,
};
use clara_lifecycle::comparison::Comparison;
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::Value;

use super::{chooser, families, relatives};
use crate::{
    control_service::Control,
    difference::{Difference, FieldChange, LayerNorms, MetricChange},
    figures,
    registry::AdapterView,
    web::{
        Page, PageError, Section, Visitor,
        page::{badge, score_bar},
    },
};

/// Which two versions, and from which answer on. Without two versions the page lets them be chosen.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    from: String,
    to: String,
    after: usize,
}

pub(super) async fn show(
    State(control): State<Control>,
    visitor: Visitor,
    Query(asked): Query<Asked>,
) -> Result<Response, PageError> {
    if asked.from.is_empty() || asked.to.is_empty() {
        return choose(&control, &visitor, &asked).await;
    }
    let difference = control.difference(&asked.from, &asked.to).await?;
    let Difference { from, to, .. } = &difference;
    let family = relatives(&control, to).await?;
    let body = html! {
        h1 {
            a href={ "/registry/" (from) } { (from) } " → " a href={ "/registry/" (to) } { (to) }
        }
        (chooser(&family, from, to))
        @for missing in &difference.missing { p.notice { (missing) } }
        @if let Some(comparison) = &difference.comparison { (paired(comparison)) }
        section.card { h2 { "Metrics" } (metrics(&difference.metrics)) }
        section.card { h2 { "Record" } (fields(&difference.fields)) }
        @if let Some(samples) = &difference.samples { (answers::show((from, to), samples, asked.after)) }
        @if let Some(layers) = &difference.layers { (weights(layers)) }
    };
    Ok(Page::new(format!("{from} and {to}"), Section::Registry).show(&visitor, &body))
}

/// Lets two versions of a family be chosen; one that was given is chosen already.
async fn choose(control: &Control, visitor: &Visitor, asked: &Asked) -> Result<Response, PageError> {
    let families = families(control).await?;
    let given = |versions: &[AdapterView], id: &str, else_id: &str| {
        let found = versions.iter().find(|view| view.version.adapter_id == id);
        found.map_or_else(|| else_id.to_owned(), |view| view.version.adapter_id.clone())
    };
    let body = html! {
        h1 { "Compare two versions" }
        p.text {
            "The page shows in what two versions of a family differ: scores on the same samples, metrics, record, answers with the "
            "words that changed, and the update of every layer. Choose an older and a newer one."
        }
        @if !families.values().any(|versions| versions.len() > 1) {
            p.faint { "No family has two versions yet: every training that is accepted registers one. " a href="/registry" { "Registry" } }
        }
        @for (family, versions) in &families {
            @if let [newest, before, ..] = versions.as_slice() {
                section.card {
                    h2 { (family) }
                    @let from = given(versions, &asked.from, &before.version.adapter_id);
                    @let to = given(versions, &asked.to, &newest.version.adapter_id);
                    (chooser(versions, &from, &to))
                }
            }
        }
    };
    Ok(Page::new("Compare two versions", Section::Registry).show(visitor, &body))
}

/// A number with its sign, in the colour of what it means.
fn change(delta: Option<f64>, decimals: usize) -> Markup {
    let class = match delta {
        Some(delta) if delta > 0.0 => "better",
        Some(delta) if delta < 0.0 => "worse",
        Some(_) | None => "",
    };
    let words = delta.map_or_else(|| figures::NONE.to_owned(), |delta| format!("{delta:+.decimals$}"));
    html! { span class=(class) { (words) } }
}

/// The scores of both on the samples that they share.
fn paired(comparison: &Comparison) -> Markup {
    html! {
        section.card {
            h2 { "On the same samples " (badge(&comparison.verdict.to_string().replace(' ', "_"))) }
            @for difference in &comparison.differences {
                p.notice { "These scores do not quite compare: " (difference) "." }
            }
            @if let Some(delta) = &comparison.delta {
                p {
                    (change(Some(delta.mean), 2)) " points, 95 % interval "
                    (format!("{:+.2} to {:+.2}", delta.lower, delta.upper)) ", "
                    (format!("p = {:.4}", delta.p_value)) ", effect size " (format!("{:+.2}", delta.effect_size)) ". "
                    span.faint {
                        (delta.pairs) " pairs in " (delta.clusters) " clusters; they would show a difference of "
                        (format!("{:.1}", delta.minimum_detectable_effect)) " points in 80 of 100 cases."
                    }
                }
            }
            table { tbody { tr {
                @for (criterion, delta) in &comparison.criteria {
                    td { span.faint { (criterion) } br; b { (change(Some(*delta), 2)) } }
                }
            } } }
            @if !comparison.unpaired.is_empty() {
                p.faint { (comparison.unpaired.len()) " samples have a score on one side alone." }
            }
        }
    }
}

fn metrics(changes: &[MetricChange]) -> Markup {
    let value = |value: Option<f64>, decimals: usize, bounds: Option<(f64, f64)>| {
        html! {
            @if bounds.is_some() { (score_bar(value, bounds)) } @else { (figures::number(value, decimals)) }
            @if let Some((low, high)) = bounds { " " span.faint.small { (format!("{low:.1} to {high:.1}")) } }
        }
    };
    html! {
        table {
            thead { tr { th { "metric" } th { "old" } th { "new" } th.number { "delta" } th.number.hide-small { "delta %" } } }
            tbody {
                @for metric in changes {
                    @let decimals = figures::decimals(&metric.metric);
                    tr {
                        td { (metric.metric.replace('_', " ")) }
                        td { (value(metric.old, decimals, metric.old_bounds)) }
                        td { (value(metric.new, decimals, metric.new_bounds)) }
                        // Of a loss less is better, so that no colour is given here.
                        td.number { (metric.delta.map_or_else(|| figures::NONE.to_owned(), |delta| format!("{delta:+.decimals$}"))) }
                        td.number.hide-small { (figures::percent(metric.delta_percent.map(|percent| percent / 100.0))) }
                    }
                }
            }
        }
    }
}

fn fields(changes: &[FieldChange]) -> Markup {
    let value = |value: &Value| match value {
        Value::Null => figures::NONE.to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    html! {
        table {
            thead { tr { th { "field" } th { "old" } th { "new" } } }
            tbody {
                @for field in changes {
                    tr {
                        td { code { (field.field) } }
                        td.text { (figures::excerpt(&value(&field.old), 200)) }
                        td.text { (figures::excerpt(&value(&field.new), 200)) }
                    }
                }
            }
        }
    }
}

/// The greatest difference first; layers that cannot be compared before all.
fn weights(layers: &[LayerNorms]) -> Markup {
    let mut sorted: Vec<&LayerNorms> = layers.iter().collect();
    sorted.sort_by(|a, b| b.difference.unwrap_or(f64::MAX).total_cmp(&a.difference.unwrap_or(f64::MAX)));
    html! {
        section.card #weights {
            details open[layers.len() <= 20] {
                summary { "Norm of the update of " (layers.len()) " layers, the greatest difference first" }
                p.faint { "‖s·B·A‖ of each version, of their difference, and the cosine of the angle between both." }
                table {
                    thead { tr { th { "layer" } th.number { "old" } th.number { "new" } th.number { "difference" } th.number { "cosine" } } }
                    tbody {
                        @for layer in sorted {
                            tr {
                                td { code { (layer.module) } }
                                td.number { (figures::number(layer.old, 4)) }
                                td.number { (figures::number(layer.new, 4)) }
                                td.number { (figures::number(layer.difference, 4)) }
                                td.number { (figures::number(layer.cosine, 3)) }
                            }
                        }
                    }
                }
            }
        }
    }
}
