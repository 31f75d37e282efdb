//! Elementary functions that vectorise and give the same bits on every machine.
//!
//! Coefficients and range reductions are those of Sun's fdlibm (sine and cosine) and Moshier's Cephes (arc tangent, and
//! sine and cosine in single precision).

use std::f64::consts::{FRAC_1_PI, FRAC_2_PI, FRAC_PI_2, FRAC_PI_4, LN_2, PI};

/// Added and taken off again, rounds to an integer, whose lowest bits then end the mantissa.
const ROUND: f64 = 6_755_399_441_055_744.0;
const ROUND32: f32 = 12_582_912.0;

/// Sine and cosine, in error by a unit or two in the last place for arguments up to a million.
#[inline(always)]
pub(super) fn sin_cos(x: f64) -> (f64, f64) {
    let shifted = x * FRAC_2_PI + ROUND;
    let quadrant = shifted.to_bits();
    let turns = shifted - ROUND;
    let r =
        ((x - turns * 1.570_796_251_296_997) - turns * 7.549_789_415_861_596e-8) - turns * 5.390_302_858_158_119e-15;
    let z = r * r;
    let tail = 2.755_731_370_707_006_8e-6 + z * (-2.505_076_025_340_686_3e-8 + z * 1.589_690_995_211_55e-10);
    let tail = 8.333_333_333_322_49e-3 + z * (-1.984_126_982_985_795e-4 + z * tail);
    let sine = r + r * z * (-1.666_666_666_666_663_2e-1 + z * tail);
    let tail = -2.755_731_435_139_066_3e-7 + z * (2.087_572_321_298_175e-9 + z * -1.135_964_755_778_819_5e-11);
    let tail = -1.388_888_888_887_411e-3 + z * (2.480_158_728_947_673e-5 + z * tail);
    let cosine = 1.0 - (0.5 * z - z * z * (4.166_666_666_666_66e-2 + z * tail));
    let odd = quadrant & 1 != 0;
    let (first, second) = (if odd { cosine } else { sine }, if odd { sine } else { cosine });
    (
        f64::from_bits(first.to_bits() ^ ((quadrant & 2) << 62)),
        f64::from_bits(second.to_bits() ^ ((quadrant.wrapping_add(1) & 2) << 62)),
    )
}

/// Sine, with the error of [`sin_cos`].
#[inline(always)]
pub(super) fn sin(x: f64) -> f64 {
    let shifted = x * FRAC_1_PI + ROUND;
    let turns = shifted - ROUND;
    let r = ((x - turns * 3.141_592_502_593_994) - turns * 1.509_957_883_172_319_3e-7)
        - turns * 1.078_060_571_631_623_8e-14;
    // The power series, which suffices up to a quarter turn.
    let z = r * r;
    let tail = 2.811_457_254_345_520_6e-15 + z * -8.220_635_246_624_33e-18;
    let tail = 1.605_904_383_682_161_3e-10 + z * (-7.647_163_731_819_816e-13 + z * tail);
    let tail = 2.755_731_922_398_589e-6 + z * (-2.505_210_838_544_172e-8 + z * tail);
    let tail = 8.333_333_333_333_333e-3 + z * (-1.984_126_984_126_984e-4 + z * tail);
    let sine = r + r * z * (-1.666_666_666_666_666_6e-1 + z * tail);
    f64::from_bits(sine.to_bits() ^ (shifted.to_bits() << 63))
}

/// Sine and cosine in single precision, for arguments up to a thousand.
#[inline(always)]
pub(super) fn sin_cos32(x: f32) -> (f32, f32) {
    let shifted = x * std::f32::consts::FRAC_2_PI + ROUND32;
    let quadrant = shifted.to_bits();
    let turns = shifted - ROUND32;
    let r = ((x - turns * 1.570_312_5) - turns * 4.837_513e-4) - turns * 7.549_79e-8;
    let z = r * r;
    let sine = r + r * z * (-1.666_665_5e-1 + z * (8.332_161e-3 + z * -1.951_529_6e-4));
    let cosine = 1.0 - 0.5 * z + z * z * (4.166_664_6e-2 + z * (-1.388_731_6e-3 + z * 2.443_315_7e-5));
    let odd = quadrant & 1 != 0;
    let (first, second) = (if odd { cosine } else { sine }, if odd { sine } else { cosine });
    (
        f32::from_bits(first.to_bits() ^ ((quadrant & 2) << 30)),
        f32::from_bits(second.to_bits() ^ ((quadrant.wrapping_add(1) & 2) << 30)),
    )
}

/// The angle of the point (x, y) from the x axis in `[-pi, pi]`; zero at the origin.
#[inline(always)]
pub(super) fn atan2(y: f64, x: f64) -> f64 {
    let (ax, ay) = (x.abs(), y.abs());
    let steep = ay > ax;
    let (low, high) = (if steep { ax } else { ay }, if steep { ay } else { ax });
    // Beyond tan(pi/8) the angle is taken from the diagonal.
    let far = low > 0.414_213_562_373_095 * high;
    let top = if far { low - high } else { low };
    let bottom = if far { low + high } else { high };
    let t = top / if bottom > 0.0 { bottom } else { 1.0 };
    let z = t * t;
    let upper = -1.228_866_684_490_136_1e2
        + z * (-7.500_855_792_314_705e1 + z * (-1.615_753_718_733_365e1 - z * 8.750_608_600_031_904e-1));
    let upper = -6.485_021_904_942_025e1 + z * upper;
    let lower = 4.328_810_604_912_903e2 + z * (1.650_270_098_316_988_5e2 + z * (2.485_846_490_142_306_3e1 + z));
    let lower = 1.945_506_571_482_614e2 + z * (4.853_903_996_359_137e2 + z * lower);
    let angle = t + t * z * upper / lower + if far { FRAC_PI_4 } else { 0.0 };
    let angle = if steep { FRAC_PI_2 - angle } else { angle };
    (if x < 0.0 { PI - angle } else { angle }).copysign(y)
}

/// `x` to the power `y` for a normal positive `x` and a result in range, with a relative error of about 1e-12.
#[inline(always)]
pub(super) fn pow(x: f64, y: f64) -> f64 {
    const HALF_ROOT: u64 = 0x3fe6_a09e_667f_3bcd;
    const BIAS: u64 = 1023 << 52;
    let exponent = x.to_bits().wrapping_sub(HALF_ROOT).wrapping_add(BIAS) >> 52;
    let mantissa = f64::from_bits(x.to_bits().wrapping_sub(exponent << 52).wrapping_add(BIAS));
    let whole = f64::from_bits(0x4330_0000_0000_0000 | exponent) - (4_503_599_627_370_496.0 + 1023.0);
    let s = (mantissa - 1.0) / (mantissa + 1.0);
    let z = s * s;
    let series = 1.0 / 9.0 + z * (1.0 / 11.0 + z * (1.0 / 13.0 + z / 15.0));
    let log2 = whole + s * (2.0 / LN_2) * (1.0 + z * (1.0 / 3.0 + z * (0.2 + z * (1.0 / 7.0 + z * series))));
    let shifted = y * log2 + ROUND;
    let r = (y * log2 - (shifted - ROUND)) * LN_2;
    let exponential = 1.0 / 40_320.0 + r * (1.0 / 362_880.0 + r * (1.0 / 3_628_800.0));
    let exponential = 1.0 / 24.0 + r * (1.0 / 120.0 + r * (1.0 / 720.0 + r * (1.0 / 5_040.0 + r * exponential)));
    let exponential = 1.0 + r * (1.0 + r * (0.5 + r * (1.0 / 6.0 + r * exponential)));
    exponential * f64::from_bits(shifted.to_bits().wrapping_add(1023) << 52)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_agree_with_libm() {
        for step in -4000..4000 {
            let x = f64::from(step) * 0.173 + 1e-3;
            let (sine, cosine) = sin_cos(x);
            assert!((sine - libm::sin(x)).abs() < 4e-16 && (cosine - libm::cos(x)).abs() < 4e-16, "{x}");
            assert!((sin(x) - libm::sin(x)).abs() < 1e-15, "{x}");
            let (sine, cosine) = sin_cos32(x as f32 / 4.0);
            let exact = f64::from(x as f32 / 4.0);
            assert!((f64::from(sine) - libm::sin(exact)).abs() < 2e-7, "{x}");
            assert!((f64::from(cosine) - libm::cos(exact)).abs() < 2e-7, "{x}");
            let y = f64::from(step % 37) * 11.1;
            assert!((atan2(y, x) - libm::atan2(y, x)).abs() < 1e-15, "{y} {x}");
            let (base, power) = (x.abs().max(1e-9), f64::from(step % 90) * 0.1);
            assert!((pow(base, power) / libm::pow(base, power) - 1.0).abs() < 1e-11, "{base} {power}");
        }
        assert_eq!(atan2(0.0, 0.0), 0.0);
    }
}
