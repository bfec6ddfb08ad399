//! A length in one byte: rounded up by at most an eighth.
//!
//! The keymap keeps this instead of the exact record length, so that a get can read a record with
//! one call. Lengths are counted in units of [`RECORD_ALIGNMENT`] bytes and coded like a small
//! floating-point number: exponent in bits 3..8, three bits of mantissa `m` in bits 0..3.
//!
//! | exponent | units |
//! |---|---|
//! | 0 | `m`, exact (code 0 is not used) |
//! | e > 0 | `(8 + m) << (e - 1)` |

use super::location::RECORD_ALIGNMENT;
use crate::cast;

const MANTISSA_BITS: u32 = 3;
const MANTISSA_MASK: u8 = (1 << MANTISSA_BITS) - 1;
/// The class of the longest record a `u32` can state; larger codes are never written.
const CLASS_MAX: u8 = 216;

const _: () = assert!(RECORD_ALIGNMENT == 8);

/// A coded length; never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SizeClass(u8);

impl SizeClass {
    /// The smallest class that holds `bytes`.
    pub(crate) fn of(bytes: u32) -> Self {
        let units = u64::from(bytes).div_ceil(RECORD_ALIGNMENT).max(1);
        let mut exponent = 0_u8;
        let mut mantissa = units;
        // Rounding up may carry into the next exponent, which the second test then takes up.
        while mantissa >= 16 {
            exponent += 1;
            mantissa = units.div_ceil(1 << exponent);
        }
        // Below 16 units the code is the count itself: 0..8 with exponent 0, 8..16 with exponent 1.
        let low = cast::to_u8(mantissa);
        Self((exponent << MANTISSA_BITS) + low)
    }

    /// The class of a code from disk; `None` for a code that is never written.
    pub(crate) fn from_code(code: u8) -> Option<Self> {
        (1..=CLASS_MAX).contains(&code).then_some(Self(code))
    }

    pub(crate) fn code(self) -> u8 {
        self.0
    }

    /// The longest record of this class, in bytes.
    pub(crate) fn bytes_max(self) -> u32 {
        let mantissa = u64::from(self.0 & MANTISSA_MASK);
        let units = match self.0 >> MANTISSA_BITS {
            0 => mantissa,
            exponent => (8 + mantissa) << (exponent - 1),
        };
        // The largest class reaches one byte further than a `u32` can state.
        cast::saturate_u32(units * RECORD_ALIGNMENT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_pinned() {
        let pinned = [
            (0, 1),
            (8, 1),
            (9, 2),
            (56, 7),
            (64, 8),
            (120, 15),
            (121, 16),
            (1152, 41),
            (4096, 56),
            (65_536 + 100, 89),
            (u32::MAX, CLASS_MAX),
        ];
        for (bytes, code) in pinned {
            assert_eq!(SizeClass::of(bytes).code(), code, "{bytes} bytes");
        }
    }

    #[test]
    fn a_class_holds_its_length_and_wastes_little() {
        let steps = (0..2_000_u32).chain((0..3_000_000).map(|step| step * 1_431 + 7));
        for bytes in steps {
            let class = SizeClass::of(bytes);
            let most = class.bytes_max();
            assert!(most >= bytes, "{bytes} bytes in a class of {most}");
            let aligned = u64::from(bytes.max(1)).next_multiple_of(RECORD_ALIGNMENT);
            assert!(u64::from(most) * 8 <= aligned * 9, "{bytes} bytes in a class of {most}");
        }
    }

    #[test]
    fn classes_rise_and_only_written_codes_are_taken() {
        assert_eq!(SizeClass::from_code(0), None);
        assert_eq!(SizeClass::from_code(CLASS_MAX + 1), None);
        let mut before = 0;
        for code in 1..=CLASS_MAX {
            let class = SizeClass::from_code(code).expect("a written code");
            assert!(class.bytes_max() > before);
            before = class.bytes_max();
            assert_eq!(SizeClass::of(before), class);
        }
    }
}
