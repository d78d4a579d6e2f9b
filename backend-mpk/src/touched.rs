//! What lies at an address of the host that code inside tried to change, in words.

use std::fs;

/// A line of `/proc/self/maps` (`proc_pid_maps(5)`).
fn find(maps: &str, address: u64) -> Option<&str> {
    maps.lines().find(|line| {
        let Some((range, _)) = line.split_once(' ') else { return false };
        let Some((start, end)) = range.split_once('-') else { return false };
        let number = |text| u64::from_str_radix(text, 16).ok();
        number(start).zip(number(end)).is_some_and(|(start, end)| (start..end).contains(&address))
    })
}

/// In words, if it can be told. Reads `/proc/self/maps`.
pub(crate) fn what_is_at(address: u64, caller: u64) -> Option<String> {
    let maps = fs::read_to_string("/proc/self/maps").ok()?;
    let line = find(&maps, address)?;
    if find(&maps, caller) == Some(line) {
        return Some("the caller's stack".to_owned());
    }
    // address, rights, offset, device, inode, name
    let name = line.splitn(6, ' ').nth(5).unwrap_or_default().trim();
    // The zero-initialised data of an object follows its file's last mapping, without a name.
    let before = maps.lines().take_while(|other| *other != line).last();
    Some(match name {
        "[heap]" => "the program's heap".to_owned(),
        "[stack]" => "the first thread's stack".to_owned(),
        "" => match before.and_then(|line| line.splitn(6, ' ').nth(5)).map(str::trim) {
            Some(object) if object.starts_with('/') && follows(before, line) => static_of(object),
            _ => "memory of the program: heap, stack or thread-local storage".to_owned(),
        },
        object if object.starts_with('/') => static_of(object),
        other => other.to_owned(),
    })
}

fn static_of(object: &str) -> String {
    let file = object.rsplit('/').next().unwrap_or(object);
    format!("a static of {file}")
}

/// Whether one mapping begins where the other ends.
fn follows(before: Option<&str>, line: &str) -> bool {
    let end = before.and_then(|before| before.split(' ').next()?.split_once('-').map(|(_, end)| end));
    let start = line.split_once('-').map(|(start, _)| start);
    end.is_some() && end == start
}

#[cfg(test)]
mod tests {
    use super::*;

    static STATIC: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
    static ZEROES: [std::sync::atomic::AtomicU64; 4096] =
        [const { std::sync::atomic::AtomicU64::new(0) }; 4096];

    #[test]
    fn places_are_told_apart() {
        let at = |address: *const u8, caller: *const u8| what_is_at(address as u64, caller as u64).unwrap();
        let local = 0_u8;
        let caller = &raw const local;
        assert!(at(STATIC.as_ptr().cast(), caller).starts_with("a static of "));
        assert!(at(ZEROES[4000].as_ptr().cast(), caller).starts_with("a static of "));
        assert_eq!(at(caller, caller), "the caller's stack");
        let large = vec![0_u8; 1 << 20];
        assert!(at(large.as_ptr(), caller).starts_with("memory of the program"));
        assert_eq!(what_is_at(8, caller as u64), None);
    }
}
