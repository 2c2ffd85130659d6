//! The Gittins index: the best ratio of expected uses to expected occupancy over all horizons.
//!
//! It ranks blocks by what keeping them is worth (J. C. Gittins, "Bandit processes and dynamic
//! allocation indices", 1979). Here the reward is a use, and the cost is the time in the cache
//! until the use or the horizon.

/// The number of ages that are told apart.
pub const AGES: usize = 24;
/// The bins of one capacity's worth of age, if they were all as wide as the first.
const FIRST_WIDTHS: f32 = 256.0;

/// One number for each age.
pub type ByAge = [f32; AGES];

/// Returns the bin of an age in capacities. Bins start at powers of the root of two.
pub fn bin(age: f32) -> usize {
    let scaled = age * FIRST_WIDTHS;
    if scaled < 1.0 {
        return 0;
    }
    // The exponent of the square is twice the logarithm, rounded down.
    let exponent = (scaled * scaled).to_bits() >> (f32::MANTISSA_DIGITS - 1);
    let twice = exponent as usize - (f32::MAX_EXP - 1) as usize;
    (twice + 1).min(AGES - 1)
}

/// Returns the age at which a bin starts, in capacities.
pub fn start(bin: usize) -> f32 {
    match bin {
        0 => 0.0,
        _ => 2f32.powf((bin - 1) as f32 / 2.0) / FIRST_WIDTHS,
    }
}

/// Returns the width of a bin, in capacities.
pub fn width(bin: usize) -> f32 {
    start(bin + 1) - start(bin)
}

/// Returns the rank at each age, from the chance of a use within each bin.
pub fn ranks(chances: &ByAge) -> ByAge {
    let widths: ByAge = std::array::from_fn(width);
    std::array::from_fn(|age| {
        let (mut left, mut uses, mut occupancy, mut best) = (1.0, 0.0, 0.0, 0.0);
        for (chance, width) in chances[age..].iter().zip(&widths[age..]) {
            occupancy += left * width * (1.0 - chance / 2.0);
            uses += left * chance;
            left *= 1.0 - chance;
            best = f32::max(best, uses / occupancy);
        }
        best
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_age_is_in_its_bin() {
        for number in 0..AGES - 1 {
            assert_eq!(bin(start(number) * 1.001), number);
            assert_eq!(bin(start(number + 1) * 0.999), number);
        }
        assert_eq!(bin(1e9), AGES - 1);
    }

    #[test]
    fn a_use_that_comes_later_ranks_lower() {
        let chances = |at: usize| std::array::from_fn(|age| if age == at { 0.5 } else { 0.0 });
        let [soon, late] = [chances(4), chances(12)].map(|chances| ranks(&chances)[0]);
        assert!(soon > late && late > 0.0, "{soon} {late}");
        assert_eq!(ranks(&chances(4))[5], 0.0, "no use is left");
    }
}
