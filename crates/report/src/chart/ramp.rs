//! A scale of colours for pictures.

/// Stops of the scale, from the least to the greatest. Source: `viridis` of matplotlib (van der Walt and Smith 2015, CC0), every fourth of
/// its range: its lightness grows evenly, so that people who see no red or no green, and printers, tell its colours apart.
const STOPS: [[f64; 3]; 5] =
    [[68.0, 1.0, 84.0], [59.0, 82.0, 139.0], [33.0, 145.0, 140.0], [94.0, 201.0, 98.0], [253.0, 231.0, 37.0]];

/// The colour of a number from 0 to 1, as red, green and blue; what lies beyond has that of the nearer end, and what is no number
/// is grey.
///
/// ```
/// use robustify_report::chart::ramp;
///
/// assert_eq!((ramp(0.0), ramp(1.0)), ([68, 1, 84], [253, 231, 37]));
/// assert_eq!(ramp(7.0), ramp(1.0));
/// ```
pub fn ramp(value: f64) -> [u8; 3] {
    if value.is_nan() {
        return [128; 3];
    }
    let place = value.clamp(0.0, 1.0) * (STOPS.len() - 1) as f64;
    let first = (place as usize).min(STOPS.len() - 2);
    let part = place - first as f64;
    std::array::from_fn(|channel| {
        (STOPS[first][channel] * (1.0 - part) + STOPS[first + 1][channel] * part).round() as u8
    })
}
