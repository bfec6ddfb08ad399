//! Keys: what one may be, and how anything becomes one.
//!
//! A key is the path of a value inside its table: 1 to 4095 bytes, and between its slashes components
//! of 1 to 255 bytes that are neither `.` nor `..` and hold no NUL byte. It need not be UTF-8. A key
//! that ends in `/` is that of a folder, and `a` and `a/` cannot both be there. Components matter:
//! listings go by them, and each folder costs a little, so that a million values lie better in
//! `2026/11/27/` than in folders of their own.
//!
//! What may hold other bytes, such as a raw hash or an address, goes through one of these first:
//!
//! ```
//! use littfs::key;
//!
//! let hash: [u8; 4] = [0x00, 0x2f, 0xa1, 0xff];
//! assert_eq!(key::hex(&hash), "002fa1ff");
//! assert_eq!(key::from_hex("002fa1ff").as_deref(), Some(&hash[..]));
//!
//! let address = b"https://example.org/a";
//! assert_eq!(key::escape(address), b"https:%2F%2Fexample.org%2Fa");
//! assert_eq!(key::unescape(b"https:%2F%2Fexample.org%2Fa").as_deref(), Some(&address[..]));
//! ```

pub use crate::table::check_file_key as check;

const DIGITS: &[u8; 16] = b"0123456789abcdef";
const UPPER_DIGITS: &[u8; 16] = b"0123456789ABCDEF";

/// Two lower-case hexadecimal digits for each byte: a component, or part of one, for up to 127 bytes
/// (but not for none).
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|&byte| digits(byte, DIGITS));
    digits.map(char::from).collect()
}

/// The bytes that [`hex`] was given; `None` when the text is not of its form.
#[must_use]
pub fn from_hex(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| byte(pair, DIGITS)).collect()
}

/// Any bytes but none as one component of a key: `/`, `%` and NUL, and a dot in front, become `%`
/// with two digits. It grows by two for each, and a component may have 255 bytes.
#[must_use]
pub fn escape(bytes: &[u8]) -> Vec<u8> {
    let mut escaped = Vec::with_capacity(bytes.len());
    for (position, &byte) in bytes.iter().enumerate() {
        if matches!(byte, b'/' | b'%' | 0) || (position == 0 && byte == b'.') {
            escaped.push(b'%');
            escaped.extend(digits(byte, UPPER_DIGITS));
        } else {
            escaped.push(byte);
        }
    }
    escaped
}

/// The bytes that [`escape`] was given; `None` when this is nothing that it makes.
#[must_use]
pub fn unescape(component: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(component.len());
    let mut rest = component;
    while let Some((&first, behind)) = rest.split_first() {
        if first == b'%' {
            let (pair, behind) = behind.split_at_checked(2)?;
            bytes.push(byte(pair, UPPER_DIGITS)?);
            rest = behind;
        } else {
            bytes.push(first);
            rest = behind;
        }
    }
    // One form each, so that a value is found under the key it was stored under.
    (escape(&bytes) == component).then_some(bytes)
}

fn digits(byte: u8, digits: &[u8; 16]) -> [u8; 2] {
    [digits[usize::from(byte >> 4)], digits[usize::from(byte & 15)]]
}

fn byte(pair: &[u8], digits: &[u8; 16]) -> Option<u8> {
    let &[high, low] = pair else { return None };
    let value = |digit| digits.iter().position(|&known| known == digit);
    u8::try_from(value(high)? * 16 + value(low)?).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_bytes_become_a_component_and_come_back(
            bytes in prop::collection::vec(
                prop_oneof![any::<u8>(), prop::sample::select(b"./%\0".to_vec())], 1..80
            ),
        ) {
            prop_assert_eq!(from_hex(&hex(&bytes)), Some(bytes.clone()));
            prop_assert_eq!(unescape(&escape(&bytes)), Some(bytes.clone()));
            for component in [hex(&bytes).into_bytes(), escape(&bytes)] {
                prop_assert!(check(&component).is_ok());
                prop_assert!(!component.contains(&b'/'));
            }
        }
    }

    #[test]
    fn what_they_do_not_make_is_refused() {
        for text in ["0", "0A", "zz", "00 "] {
            assert_eq!(from_hex(text), None, "{text}");
        }
        for component in [&b"%"[..], b"%2", b"%2f", b"a/b", b".", b"..", b"%41", b"a\0"] {
            assert_eq!(unescape(component), None, "{component:?}");
        }
        assert_eq!(escape(b".."), b"%2E.");
        assert_eq!(escape(b"a.b"), b"a.b");
    }
}
