//! Lines over axes, as SVG. Knows nothing of what is measured.

use std::ops::Range;

use plotters::{
    coord::{
        Shift,
        ranged1d::{AsRangedCoord, Ranged, ValueFormatter},
    },
    prelude::*,
};

const WIDTH: u32 = 760;
const PANEL_HEIGHT: u32 = 300;
const FONT: &str = "sans-serif";
const COLOURS: [RGBColor; 4] =
    [RGBColor(0, 90, 181), RGBColor(200, 70, 0), RGBColor(110, 110, 110), RGBColor(0, 130, 90)];
/// Times the widest value, so that the last point is not on the edge.
const MARGIN: f64 = 1.05;
/// Times the highest value: the names of the lines are above them.
const HEADROOM: f64 = 1.4;

/// Axes with their lines.
pub(crate) struct Panel {
    pub(crate) x: String,
    pub(crate) y: String,
    /// By powers of ten. Nothing of it may be zero.
    pub(crate) is_log: bool,
    /// What matters most comes first.
    pub(crate) lines: Vec<Line>,
}

pub(crate) struct Line {
    pub(crate) name: &'static str,
    /// By x.
    pub(crate) points: Vec<(f64, f64)>,
}

/// One below the other. White behind: it is looked at on a dark page too.
pub(crate) fn svg(panels: &[Panel]) -> anyhow::Result<String> {
    let mut text = String::new();
    {
        let size = (WIDTH, PANEL_HEIGHT * panels.len() as u32);
        let root = SVGBackend::with_string(&mut text, size).into_drawing_area();
        root.fill(&WHITE).map_err(told)?;
        for (panel, area) in panels.iter().zip(root.split_evenly((panels.len(), 1))) {
            let ys = panel.lines.iter().flat_map(|line| line.points.iter().map(|(_, y)| *y));
            let (least, most) = ys.fold((f64::MAX, f64::MIN), |(least, most), y| (least.min(y), most.max(y)));
            match panel.is_log {
                true => draw(&area, panel, decades(least, most).log_scale())?,
                false => draw(&area, panel, 0.0..most * HEADROOM)?,
            }
        }
        root.present().map_err(told)?;
    }
    Ok(text)
}

/// From power of ten to power of ten.
fn decades(least: f64, most: f64) -> Range<f64> {
    let low = least.max(f64::MIN_POSITIVE).log10().floor();
    10_f64.powf(low)..10_f64.powf(most.log10().ceil().max(low + 1.0))
}

fn draw<'a, Y, C>(area: &DrawingArea<SVGBackend<'a>, Shift>, panel: &Panel, y: Y) -> anyhow::Result<()>
where
    Y: AsRangedCoord<CoordDescType = C, Value = f64>,
    C: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    let xs = panel.lines.iter().flat_map(|line| line.points.iter().map(|(x, _)| *x));
    let widest = xs.fold(f64::MIN_POSITIVE, f64::max);
    let mut chart = ChartBuilder::on(area)
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(64)
        .build_cartesian_2d(0.0..widest * MARGIN, y)
        .map_err(told)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(RGBColor(225, 225, 225))
        .label_style((FONT, 13))
        .axis_desc_style((FONT, 14))
        .x_labels(9)
        .y_labels(7)
        .x_desc(panel.x.as_str())
        .y_desc(panel.y.as_str())
        .x_label_formatter(&|x| number(*x))
        .y_label_formatter(&|y| number(*y))
        .draw()
        .map_err(told)?;
    // The first is drawn last, over the others.
    for (number, line) in panel.lines.iter().enumerate().rev() {
        let colour = COLOURS[number % COLOURS.len()];
        let style = colour.stroke_width(2);
        let points = line.points.iter().copied();
        let drawn = LineSeries::new(points, style).point_size(3);
        let legend = move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style);
        chart.draw_series(drawn).map_err(told)?.label(line.name).legend(legend);
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.85))
        .border_style(RGBColor(200, 200, 200))
        .label_font((FONT, 13))
        .draw()
        .map_err(told)?;
    Ok(())
}

/// No more digits than an axis needs.
fn number(value: f64) -> String {
    let digits = match value.abs() {
        0.0 => 0,
        value if value >= 10.0 => 0,
        value if value >= 1.0 => 1,
        _ => 2,
    };
    format!("{value:.digits$}")
}

/// Its errors are not to be sent between threads.
fn told(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow::anyhow!("{error}")
}
