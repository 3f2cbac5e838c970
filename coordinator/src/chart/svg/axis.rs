//! A panel of a drawing with its axes.

use super::{Range, add, real, text};

/// A rectangle in which values stand over steps.
#[derive(Debug, Clone, Copy)]
pub(super) struct Panel {
    pub(super) top: f64,
    pub(super) left: f64,
    pub(super) width: f64,
    pub(super) height: f64,
    pub(super) steps: Range,
    pub(super) values: Range,
}

impl Panel {
    /// Where a value is drawn.
    pub(super) fn place(&self, step: u64, value: f64) -> (f64, f64) {
        (self.x(real(step)), self.y(value))
    }

    fn x(&self, step: f64) -> f64 {
        self.left + self.steps.share(step) * self.width
    }

    fn y(&self, value: f64) -> f64 {
        self.top + (1.0 - self.values.share(value)) * self.height
    }

    /// Lines at round values with the values beside them, the name of the axis and, if wanted, numbers of steps.
    pub(super) fn frame(&self, svg: &mut String, name: &str, with_steps: bool) {
        let (right, bottom) = (self.left + self.width, self.top + self.height);
        for (value, label) in ticks(self.values, self.height / 40.0) {
            let y = self.y(value);
            grid(svg, (self.left, y), (right, y));
            text(svg, (self.left - 8.0, y + 4.0), "end", 12, &label);
        }
        for (step, label) in ticks(self.steps, 8.0).into_iter().filter(|(step, _)| step.fract() == 0.0) {
            let x = self.x(step);
            grid(svg, (x, self.top), (x, bottom));
            if with_steps {
                text(svg, (x, bottom + 18.0), "middle", 12, &label);
            }
        }
        let Self { top, left, width, height, .. } = self;
        add(
            svg,
            format_args!(
                r##"<rect class="frame" fill="none" stroke="#656d76" x="{left}" y="{top}" width="{width}" height="{height}"/>"##
            ),
        );
        let (x, y) = (20.0, top + height / 2.0);
        add(
            svg,
            format_args!(
                r##"<text class="ink" fill="#1f2328" font-size="13" text-anchor="middle" transform="translate({x} {y}) rotate(-90)">{name}</text>"##
            ),
        );
    }
}

fn grid(svg: &mut String, (x1, y1): (f64, f64), (x2, y2): (f64, f64)) {
    add(
        svg,
        format_args!(
            r##"<line class="grid" stroke="#d0d7de" x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}"/>"##
        ),
    );
}

/// About `wanted` round values within a range, with how they are written.
pub(super) fn ticks(range: Range, wanted: f64) -> Vec<(f64, String)> {
    let rough = (range.high - range.low) / wanted.max(1.0);
    let power = rough.log10().floor();
    let unit = 10_f64.powf(power);
    let factor = [1.0, 2.0, 5.0].into_iter().find(|factor| factor * unit >= rough).unwrap_or(10.0);
    let step = factor * unit;
    let first = (range.low / step - 1e-9).ceil();
    // No more than this even where rounding plays tricks.
    (0..64_u32)
        .map(|index| (first + f64::from(index)) * step)
        .take_while(|value| *value <= range.high + step * 1e-9)
        .map(|value| (value, label(value, step)))
        .collect()
}

/// A tick in as many digits as its distance to the next one needs.
fn label(value: f64, step: f64) -> String {
    let value = if value.abs() < step * 1e-6 { 0.0 } else { value };
    if step >= 1.0 {
        return format!("{value:.0}");
    }
    if step >= 1e-3 {
        return format!("{value:.3}").trim_end_matches('0').trim_end_matches('.').to_owned();
    }
    if value == 0.0 {
        return "0".to_owned();
    }
    let short = format!("{value:.2e}");
    let (digits, exponent) = short.split_once('e').unwrap_or((short.as_str(), "0"));
    format!("{}e{exponent}", digits.trim_end_matches('0').trim_end_matches('.'))
}
