//! From one width of number to another, saying each time what becomes of one that does not fit.
//!
//! There are two families. `to_*` is for numbers that the caller knows to fit: debug builds, and so
//! all tests, stop where one does not. `saturate_*` is for numbers that may be anything, such as a
//! length from disk or a time to live of centuries, where "as much as can be counted" is a right
//! answer. In a release both give the largest number of the narrower type: whatever uses it then
//! meets its own limit, while one that is cut to its low bits would look like another number.

use std::fmt::Display;
use std::time::Duration;

/// A length or a position, for use in memory. Machines of 64 bits have room for every one; on a
/// narrower one the largest stands for what is longer than any memory.
#[inline]
pub(crate) fn to_usize(number: impl Into<u64>) -> usize {
    usize::try_from(number.into()).unwrap_or(usize::MAX)
}

/// A number that is known to fit 64 bits.
#[inline]
#[track_caller]
pub(crate) fn to_u64<N: TryInto<u64> + Copy + Display>(number: N) -> u64 {
    fitting(number, u64::MAX)
}

/// A number that is known to fit 32 bits.
#[inline]
#[track_caller]
pub(crate) fn to_u32<N: TryInto<u32> + Copy + Display>(number: N) -> u32 {
    fitting(number, u32::MAX)
}

/// A number that is known to fit 16 bits.
#[inline]
#[track_caller]
pub(crate) fn to_u16<N: TryInto<u16> + Copy + Display>(number: N) -> u16 {
    fitting(number, u16::MAX)
}

/// A number that is known to fit 8 bits.
#[inline]
#[track_caller]
pub(crate) fn to_u8<N: TryInto<u8> + Copy + Display>(number: N) -> u8 {
    fitting(number, u8::MAX)
}

/// Any number, or the largest of 32 bits for one that is larger.
#[inline]
pub(crate) fn saturate_u32(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// The nanoseconds of a duration; one of more than 584 years is as long as can be counted.
#[inline]
pub(crate) fn saturate_ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// An instant as the signed nanoseconds that attributes carry, which end in the year 2262.
#[inline]
pub(crate) fn saturate_signed_ns(instant_ns: u64) -> i64 {
    i64::try_from(instant_ns).unwrap_or(i64::MAX)
}

/// An instant of attributes as nanoseconds since the epoch, at which one before it counts as well.
#[inline]
pub(crate) fn saturate_unsigned_ns(instant_ns: i64) -> u64 {
    u64::try_from(instant_ns).unwrap_or(0)
}

/// Any number, or the nearest that 64 bits can hold with a sign.
#[cfg(any(test, feature = "mount"))]
#[inline]
pub(crate) fn saturate_i64(number: i128) -> i64 {
    i64::try_from(number).unwrap_or(if number < 0 { i64::MIN } else { i64::MAX })
}

#[inline]
#[track_caller]
fn fitting<N: TryInto<M> + Copy + Display, M: Display>(number: N, max: M) -> M {
    number.try_into().unwrap_or_else(|_| {
        debug_assert!(false, "{number} is known to be from 0 to {max}");
        max
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_stays_as_it_is() {
        assert_eq!(to_usize(7_u32), 7);
        assert_eq!(to_u64(u128::from(u64::MAX)), u64::MAX);
        assert_eq!(to_u32(usize::from(u16::MAX)), 65_535);
        assert_eq!(to_u32(u64::from(u32::MAX)), u32::MAX);
        assert_eq!(to_u16(65_535_usize), u16::MAX);
        assert_eq!(to_u8(255_u64), u8::MAX);
        assert_eq!(saturate_u32(u64::from(u32::MAX)), u32::MAX);
        assert_eq!(saturate_ns(Duration::new(1, 2)), 1_000_000_002);
        assert_eq!(saturate_signed_ns(5), 5);
    }

    #[test]
    fn what_may_be_anything_is_as_large_as_it_gets() {
        assert_eq!(saturate_u32(1 << 32), u32::MAX);
        assert_eq!(saturate_ns(Duration::MAX), u64::MAX);
        assert_eq!(saturate_signed_ns(u64::MAX), i64::MAX);
        assert_eq!((saturate_unsigned_ns(-1), saturate_unsigned_ns(5)), (0, 5));
        assert_eq!(saturate_i64(i128::MAX), i64::MAX);
        assert_eq!((saturate_i64(i128::MIN), saturate_i64(-7)), (i64::MIN, -7));
    }

    #[test]
    #[cfg(debug_assertions)]
    #[should_panic(expected = "256 is known to be from 0 to 255")]
    fn what_was_known_to_fit_and_does_not_stops_a_test() {
        to_u8(256_u64);
    }
}
