//! Draws a training's curve as SVG: losses above, learning rate below, readable on light and dark pages.

mod axis;
#[cfg(test)]
mod tests;

use std::{fmt::Write as _, path::Path};

use clara_lifecycle::{
    curve::{StepPoint, TrainingCurve},
    job::Job,
};

use super::{Range, losses, real};
use axis::Panel;

/// What is written above the drawing.
#[derive(Debug, Clone)]
pub struct Heading {
    /// The larger line.
    pub title: String,
    /// The smaller line.
    pub subtitle: String,
}

impl Heading {
    /// For the training of a job.
    pub fn of(job: &Job) -> Self {
        let spec = &job.spec;
        let title = match &job.adapter_id {
            Some(adapter_id) => format!("Training of {adapter_id}"),
            None => format!("Training for {}", spec.domain),
        };
        // Base models are often named by a long path.
        let base = Path::new(&spec.base_model).file_name().map(|name| name.to_string_lossy().into_owned());
        let base = base.unwrap_or_else(|| spec.base_model.clone());
        let subtitle = format!("{} · {}, rank {} · {base}", job.id, spec.method, spec.training.rank);
        Self { title, subtitle }
    }
}

const WIDTH: f64 = 880.0;
const HEIGHT: f64 = 600.0;
const LEFT: f64 = 76.0;
const PANEL_WIDTH: f64 = WIDTH - LEFT - 28.0;
/// Colours are attributes, for programs that know no style sheets; the style sheet changes them on dark pages.
const STYLE: &str = "<style>
  @media (prefers-color-scheme: dark) {
    .page { fill: #161b22 } .ink { fill: #e6edf3 } .frame { stroke: #8b949e } .grid { stroke: #30363d }
    .train { stroke: #6cb6ff } .validation { stroke: #ffa657 } .dot { fill: #ffa657 } .rate { stroke: #7ee787 }
  }
</style>
";

/// The drawing; `None` before the first step.
pub fn draw(curve: &TrainingCurve, heading: &Heading) -> Option<String> {
    let last = curve.steps.last()?.step;
    let steps = Range { low: 0.0, high: real(last.max(1)) };
    let loss = Range::of(losses(curve))?.widened();
    let rates = Range::of(curve.steps.iter().map(|point| point.learning_rate))?;
    let rates = Range { low: rates.low.min(0.0), high: rates.high }.widened();
    let above = Panel { top: 104.0, height: 280.0, left: LEFT, width: PANEL_WIDTH, steps, values: loss };
    let below = Panel { top: 424.0, height: 112.0, left: LEFT, width: PANEL_WIDTH, steps, values: rates };
    let mut svg = String::new();
    open(&mut svg, heading);
    above.frame(&mut svg, "loss, nats per token", false);
    below.frame(&mut svg, "learning rate", true);
    let middle = LEFT + PANEL_WIDTH / 2.0;
    text(&mut svg, (middle, HEIGHT - 18.0), "middle", 13, "optimiser step");
    let half = neighbours(curve.steps.len());
    let raw = curve.steps.iter().map(|point| (point.step, point.loss));
    let faint = if half > 0 { r#" opacity="0.35""# } else { "" };
    line(&mut svg, &above, raw, &format!(r##"class="train" stroke="#1f6feb" stroke-width="1.2"{faint}"##));
    if half > 0 {
        let mean = smooth(&curve.steps, half);
        line(&mut svg, &above, mean, r##"class="train" stroke="#1f6feb" stroke-width="2.2""##);
    }
    let validations = curve.validations.iter().map(|point| (point.step, point.validation_loss));
    line(&mut svg, &above, validations, r##"class="validation" stroke="#bc4c00" stroke-width="1.8""##);
    for point in &curve.validations {
        let (x, y) = above.place(point.step, point.validation_loss);
        add(
            &mut svg,
            format_args!(r##"<circle class="dot" fill="#bc4c00" cx="{x:.1}" cy="{y:.1}" r="3.2"/>"##),
        );
    }
    let rates = curve.steps.iter().map(|point| (point.step, point.learning_rate));
    line(&mut svg, &below, rates, r##"class="rate" stroke="#1a7f37" stroke-width="1.8""##);
    legend(&mut svg, half, !curve.validations.is_empty());
    svg.push_str("</svg>\n");
    Some(svg)
}

fn open(svg: &mut String, heading: &Heading) {
    add(
        svg,
        format_args!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" font-family="system-ui, sans-serif">"#
        ),
    );
    add(svg, format_args!("<title>{}</title>", escaped(&heading.title)));
    svg.push_str(STYLE);
    add(svg, format_args!(r##"<rect class="page" fill="#ffffff" width="{WIDTH}" height="{HEIGHT}"/>"##));
    text(svg, (LEFT, 34.0), "start", 18, &heading.title);
    text(svg, (LEFT, 56.0), "start", 13, &heading.subtitle);
}

/// What the lines of the upper panel mean.
fn legend(svg: &mut String, half: usize, has_validations: bool) {
    let mut entries = vec![("train", "#1f6feb", if half > 0 { "0.35" } else { "1" }, "training".to_owned())];
    if half > 0 {
        entries.push(("train", "#1f6feb", "1", format!("training, mean of {} points", 2 * half + 1)));
    }
    if has_validations {
        entries.push(("validation", "#bc4c00", "1", "validation".to_owned()));
    }
    let mut x = LEFT;
    for (class, colour, opacity, words) in entries {
        let end = x + 24.0;
        add(
            svg,
            format_args!(
                r#"<line class="{class}" stroke="{colour}" stroke-width="2.2" opacity="{opacity}" x1="{x}" y1="84" x2="{end}" y2="84"/>"#
            ),
        );
        text(svg, (end + 6.0, 88.0), "start", 13, &words);
        x = end + 30.0 + 7.0 * real(words.chars().count());
    }
}

/// Points on either side that are averaged: about a twentieth of all together; none where there are few.
fn neighbours(steps: usize) -> usize {
    steps / 40
}

/// The mean loss of each step and up to `half` neighbours on either side.
fn smooth(steps: &[StepPoint], half: usize) -> impl Iterator<Item = (u64, f64)> {
    steps.iter().enumerate().map(move |(index, point)| {
        let around = steps.iter().take(index + half + 1).skip(index.saturating_sub(half));
        let (sum, count) = around.fold((0.0, 0_u32), |(sum, count), near| (sum + near.loss, count + 1));
        (point.step, sum / f64::from(count.max(1)))
    })
}

fn line(svg: &mut String, panel: &Panel, points: impl Iterator<Item = (u64, f64)>, look: &str) {
    let places: Vec<String> = points
        .map(|(step, value)| {
            let (x, y) = panel.place(step, value);
            format!("{x:.1},{y:.1}")
        })
        .collect();
    if places.len() > 1 {
        let places = places.join(" ");
        add(svg, format_args!(r#"<polyline fill="none" stroke-linejoin="round" {look} points="{places}"/>"#));
    }
}

fn text(svg: &mut String, (x, y): (f64, f64), anchor: &str, size: u32, words: &str) {
    let words = escaped(words);
    add(
        svg,
        format_args!(
            r##"<text class="ink" fill="#1f2328" x="{x:.1}" y="{y:.1}" font-size="{size}" text-anchor="{anchor}">{words}</text>"##
        ),
    );
}

fn add(svg: &mut String, element: std::fmt::Arguments<'_>) {
    // Writing to a string does not fail.
    let written = writeln!(svg, "{element}");
    debug_assert!(written.is_ok(), "writing to a string failed");
}

/// Text that stays text within XML; control characters, which XML cannot hold, are left out.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars().filter(|letter| !letter.is_control()) {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            letter => escaped.push(letter),
        }
    }
    escaped
}
