//! Release numbers of kernels and C libraries.

use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;

/// A release number: the first three numbers of it, absent ones zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version {
    major: u32,
    minor: u32,
    patch: u32,
}

impl Version {
    pub(super) const fn new(major: u32, minor: u32, patch: u32) -> Self {
        Self { major, minor, patch }
    }
}

impl FromStr for Version {
    type Err = ParseIntError;

    /// Reads `6.12.4-amd64`, `6.13-rc1` and `2.36` alike: what follows the digits of a part ends the number there.
    fn from_str(release: &str) -> Result<Self, ParseIntError> {
        let numbers = release.split(|character: char| !character.is_ascii_digit() && character != '.').next();
        let mut parts = numbers.unwrap_or_default().split('.');
        let major = parts.next().unwrap_or_default().parse()?;
        let mut next = || parts.next().filter(|part| !part.is_empty()).map_or(Ok(0), str::parse);
        Ok(Self { major, minor: next()?, patch: next()? })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_read_up_to_the_third_number() {
        let version = |text: &str| text.parse::<Version>().ok();
        assert_eq!(version("6.18.44-fc-v595"), Some(Version::new(6, 18, 44)));
        assert_eq!(version("6.12.9+bpo-amd64"), Some(Version::new(6, 12, 9)));
        assert_eq!(version("5.15.167.4-microsoft"), Some(Version::new(5, 15, 167)));
        assert_eq!(version("2.36"), Some(Version::new(2, 36, 0)));
        assert_eq!(version("2.42.9000"), Some(Version::new(2, 42, 9000)));
        assert_eq!(version("6."), Some(Version::new(6, 0, 0)));
        for text in ["", ".1", "-6.1", "v6.1", "6.99999999999"] {
            assert_eq!(version(text), None, "{text}");
        }
        assert_eq!(Version::new(6, 1, 0).to_string(), "6.1.0");
    }
}
