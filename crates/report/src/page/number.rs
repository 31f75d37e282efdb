//! Numbers as people read them.

/// What stands where there is no number.
pub const GAP: &str = "–";

/// A fraction in percent: `78.6`.
pub fn percent(fraction: f64) -> String {
    fixed(100.0 * fraction, 1)
}

/// A difference of fractions in points, with its sign: `+8.6`, `−0.4`, `0.0`.
pub fn points(difference: f64) -> String {
    let text = fixed(100.0 * difference, 1);
    if difference > 0.0 && text != "0.0" { format!("+{text}") } else { text }
}

/// A number with some decimals, a minus of the width of a plus, and no negative zero.
pub fn fixed(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    match text.strip_prefix('-') {
        Some(rest) if rest.chars().all(|c| matches!(c, '0' | '.')) => rest.to_owned(),
        Some(rest) => format!("−{rest}"),
        None => text,
    }
}

/// A count with its thousands apart: `1,000`.
pub fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A large number in three digits: `22.1 M`, `174 k`.
pub fn large(value: u64) -> String {
    let value = value as f64;
    let (scaled, unit) = match value {
        _ if value >= 1e9 => (value / 1e9, " G"),
        _ if value >= 1e6 => (value / 1e6, " M"),
        _ if value >= 1e3 => (value / 1e3, " k"),
        _ => (value, ""),
    };
    let decimals = if scaled >= 100.0 || unit.is_empty() { 0 } else { 1 };
    format!("{scaled:.decimals$}{unit}")
}

/// Interval of 95 % of a share of `right` among `of` images. Source: Wilson 1927, "Probable inference, the law of succession, and
/// statistical inference".
pub fn wilson(share: f64, of: u64) -> Option<[f64; 2]> {
    if of == 0 || !(0.0..=1.0).contains(&share) {
        return None;
    }
    let (n, z) = (of as f64, 1.959_964);
    let middle = (share + z * z / (2.0 * n)) / (1.0 + z * z / n);
    let half = z / (1.0 + z * z / n) * (share * (1.0 - share) / n + z * z / (4.0 * n * n)).sqrt();
    Some([(middle - half).max(0.0), (middle + half).min(1.0)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!([0.0864, -0.0004, -0.0123].map(points), ["+8.6", "0.0", "−1.2"]);
        assert_eq!([0, 999, 1_000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([12, 174_000, 22_050_664, 1_820_000_000].map(large), ["12", "174 k", "22.1 M", "1.8 G"]);
    }

    #[test]
    fn the_interval_of_a_share_is_wilsons() {
        // 8 of 10: 0.4902 to 0.9433 (statsmodels' `proportion_confint(8, 10, method="wilson")`).
        let [low, high] = wilson(0.8, 10).unwrap();
        assert!((low - 0.490_162).abs() < 1e-5 && (high - 0.943_318).abs() < 1e-5, "{low} {high}");
        assert_eq!(wilson(1.0, 5).unwrap()[1], 1.0);
        assert_eq!((wilson(0.5, 0), wilson(f64::NAN, 3)), (None, None));
    }
}
