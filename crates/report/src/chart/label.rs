//! Where names stand so that they cover neither each other nor points.

/// About how wide a text of 12.5 units is.
pub(super) fn width(text: &str) -> f64 {
    6.7 * text.chars().count() as f64
}

/// A rectangle: left, top, right, bottom.
pub(super) type Rectangle = [f64; 4];

fn overlap(one: &Rectangle, other: &Rectangle) -> f64 {
    let along = one[2].min(other[2]) - one[0].max(other[0]);
    let down = one[3].min(other[3]) - one[1].max(other[1]);
    along.max(0.0) * down.max(0.0)
}

/// The places of names beside points, one for each, within `bounds`: near the point where there is room, further away where not.
pub(super) fn places(points: &[(f64, f64)], names: &[&str], bounds: Rectangle) -> Vec<Rectangle> {
    let mut taken: Vec<Rectangle> = points.iter().map(|(x, y)| [x - 6.0, y - 6.0, x + 6.0, y + 6.0]).collect();
    let mut places = Vec::with_capacity(points.len());
    for (&(x, y), name) in points.iter().zip(names) {
        let wide = width(name);
        let candidate = |(side, rise): (f64, f64)| {
            let left = if side > 0.0 {
                x + 10.0
            } else if side < 0.0 {
                x - 10.0 - wide
            } else {
                x - wide / 2.0
            };
            [left, y + rise - 8.0, left + wide, y + rise + 8.0]
        };
        let rises = [0.0, -12.0, 12.0, -20.0, 20.0, -32.0, 32.0, -44.0, 44.0, -56.0, 56.0, -70.0, 70.0];
        let all = rises.into_iter().flat_map(|rise: f64| {
            let above: &[f64] = if rise.abs() > 15.0 { &[1.0, -1.0, 0.0] } else { &[1.0, -1.0] };
            above.iter().map(move |&side| (side, rise))
        });
        let cost = |place: &Rectangle| {
            let outside = (bounds[0] - place[0]).max(0.0) + (place[2] - bounds[2]).max(0.0);
            let beyond = (bounds[1] - place[1]).max(0.0) + (place[3] - bounds[3]).max(0.0);
            taken.iter().map(|other| overlap(place, other)).sum::<f64>() + 100.0 * (outside + beyond)
        };
        // The first of the best: they are in the order of their distances.
        let best = all
            .map(candidate)
            .map(|place| (cost(&place), place))
            .reduce(|best, next| if next.0 < best.0 { next } else { best });
        let (_, place) = best.expect("there are candidates");
        taken.push(place);
        places.push(place);
    }
    places
}

/// Heights of names at the ends of lines, in the order given, as near to where they belong as their size allows.
pub(super) fn spread(wanted: &[f64], gap: f64, [top, bottom]: [f64; 2]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..wanted.len()).collect();
    order.sort_by(|&a, &b| wanted[a].total_cmp(&wanted[b]));
    let mut heights = vec![0.0; wanted.len()];
    let mut last = f64::NEG_INFINITY;
    for &index in &order {
        last = wanted[index].max(last + gap).max(top);
        heights[index] = last;
    }
    let mut limit = bottom;
    for &index in order.iter().rev() {
        heights[index] = heights[index].min(limit);
        limit = heights[index] - gap;
    }
    heights
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_apart() {
        let points = [(100.0, 100.0), (104.0, 102.0), (98.0, 97.0)];
        let places = places(&points, &["first name", "second name", "third name"], [0.0, 0.0, 400.0, 300.0]);
        for (index, place) in places.iter().enumerate() {
            assert!(places[..index].iter().all(|other| overlap(place, other) == 0.0), "{places:?}");
        }
        let heights = spread(&[50.0, 51.0, 200.0, 52.0], 14.0, [0.0, 210.0]);
        assert_eq!(heights, [50.0, 64.0, 200.0, 78.0]);
        assert_eq!(spread(&[99.0, 100.0], 14.0, [0.0, 100.0]), [86.0, 100.0]);
    }
}
