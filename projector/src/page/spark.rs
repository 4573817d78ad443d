//! A small line that shows how a figure went. Drawn here, so that it needs no script.

pub(super) const WIDTH: usize = 120;
pub(super) const HEIGHT: usize = 28;

/// The points of a polyline over the whole width: from zero at the bottom to the largest at the top. What is unknown is left
/// out.
pub(super) fn points(values: &[Option<f64>]) -> String {
    scaled(values, values.iter().flatten().copied().fold(0.0, f64::max), (WIDTH, HEIGHT))
}

/// The same of another size, with the largest that is shown beside it.
pub(super) fn scaled(values: &[Option<f64>], largest: f64, (width, height): (usize, usize)) -> String {
    let largest = largest.max(f64::MIN_POSITIVE);
    let step = width as f64 / (values.len().max(2) - 1) as f64;
    let inner = (height - 4) as f64;
    let point = |(index, value): (usize, &Option<f64>)| {
        value.map(|value| format!("{:.1},{:.1}", index as f64 * step, 2.0 + inner - value / largest * inner))
    };
    values.iter().enumerate().filter_map(point).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_is_at_the_top_and_what_is_unknown_is_left_out() {
        assert_eq!(points(&[Some(0.0), None, Some(4.0)]), "0.0,26.0 120.0,2.0");
        assert_eq!(points(&[Some(0.0), Some(0.0)]), "0.0,26.0 120.0,26.0");
        assert_eq!(points(&[]), "");
    }
}
