//! Which system this is.

use std::fs;

/// The system's name, if it is not Debian 12.
pub(crate) fn other_than_debian_12() -> Option<String> {
    let text = fs::read_to_string("/etc/os-release").unwrap_or_default();
    if is_debian_12(&text) { None } else { Some(name(&text)) }
}

fn is_debian_12(os_release: &str) -> bool {
    field(os_release, "ID") == Some("debian") && field(os_release, "VERSION_ID") == Some("12")
}

fn name(os_release: &str) -> String {
    field(os_release, "PRETTY_NAME").unwrap_or("an unnamed system").to_owned()
}

/// The value of `NAME=value` or `NAME="value"`, as os-release(5) has them.
fn field<'a>(os_release: &'a str, name: &str) -> Option<&'a str> {
    let values = os_release.lines().filter_map(|line| line.trim().strip_prefix(name)?.strip_prefix('='));
    values.map(|value| value.trim_matches(['"', '\''])).next_back()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_debian_12_is_debian_12() {
        let debian = "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nVERSION_ID=\"12\"\nID=debian\n";
        assert!(is_debian_12(debian));
        assert_eq!(name(debian), "Debian GNU/Linux 12 (bookworm)");
        for other in ["ID=debian\nVERSION_ID=\"13\"\n", "ID=ubuntu\nVERSION_ID=\"12\"\nID_LIKE=debian\n", ""]
        {
            assert!(!is_debian_12(other), "{other}");
        }
        assert_eq!(name(""), "an unnamed system");
    }
}
