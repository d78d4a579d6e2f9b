//! What a command line asks of a guest.

use std::time::Duration;

use super::kernel::Series;

const TIMEOUT_S_DEFAULT: u64 = 600;

/// What the guest's clock counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Clock {
    /// Time, roughly.
    Time,
    /// One nanosecond per instruction, on one CPU.
    Instructions,
}

/// What is booted, and what is brought along.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) clock: Clock,
    pub(super) cpus: Option<u32>,
    /// Without it, as much as the programs need.
    pub(super) memory_mib: Option<u64>,
    /// How long one program may take; the first one's boot is part of it.
    pub(super) timeout: Duration,
    /// `FILE`, or `FILE=PATH` with its place in the guest.
    pub(super) files: Vec<String>,
    /// `NAME`, or `NAME=VALUE`.
    pub(super) variables: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            clock: Clock::Time,
            cpus: None,
            memory_mib: None,
            timeout: Duration::from_secs(TIMEOUT_S_DEFAULT),
            files: Vec::new(),
            variables: Vec::new(),
        }
    }
}

/// A command with its options.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// One program.
    Run { series: Series, options: Options, program: String, arguments: Vec<String> },
    /// The suites, with what is handed to each of their programs.
    Test { series: Vec<Series>, options: Options, arguments: Vec<String> },
}

/// The request that the arguments spell.
///
/// # Errors
/// What is wrong with them.
pub(super) fn parse(arguments: &[String]) -> Result<Request, String> {
    match arguments.split_first() {
        Some((command, rest)) if command == "run" => run(rest),
        Some((command, rest)) if command == "test" => test(rest),
        Some((command, _)) => Err(format!("unknown command `guest {command}`")),
        None => Err("no command after `guest`".to_owned()),
    }
}

/// Options end at the program: what follows is its own.
fn run(arguments: &[String]) -> Result<Request, String> {
    let mut words = arguments.iter();
    let (mut options, mut series) = (Options::default(), Series::V6_12);
    while let Some(word) = words.next() {
        if word == "--kernel" {
            series = one_series(value(word, &mut words)?)?;
        } else if !option(&mut options, word, &mut words)? {
            let program = if word == "--" { value(word, &mut words)? } else { word };
            if word != "--" && word.starts_with('-') {
                return Err(format!("unknown option `{word}`"));
            }
            check(&options)?;
            let arguments = words.cloned().collect();
            return Ok(Request::Run { series, options, program: program.clone(), arguments });
        }
    }
    Err("no program to run".to_owned())
}

/// Filters stand anywhere; what follows `--` is handed on as it is.
fn test(arguments: &[String]) -> Result<Request, String> {
    let mut words = arguments.iter();
    let (mut options, mut series) = (Options::default(), Series::ALL.to_vec());
    let mut handed_on = Vec::new();
    while let Some(word) = words.next() {
        if word == "--kernel" {
            let name = value(word, &mut words)?;
            series = if name == "all" { Series::ALL.to_vec() } else { vec![one_series(name)?] };
        } else if word == "--" {
            handed_on.extend(words.by_ref().cloned());
        } else if !option(&mut options, word, &mut words)? {
            if word.starts_with('-') {
                return Err(format!("unknown option `{word}`"));
            }
            handed_on.push(word.clone());
        }
    }
    check(&options)?;
    Ok(Request::Test { series, options, arguments: handed_on })
}

/// Reads an option that both commands have. Whether it was one.
fn option<'a>(
    options: &mut Options,
    word: &str,
    words: &mut impl Iterator<Item = &'a String>,
) -> Result<bool, String> {
    match word {
        "--icount" => options.clock = Clock::Instructions,
        "--with" => options.files.push(value(word, words)?.clone()),
        "--env" => options.variables.push(value(word, words)?.clone()),
        "--smp" => options.cpus = Some(number(word, words)?),
        "--memory" => options.memory_mib = Some(number(word, words)?),
        "--timeout" => options.timeout = Duration::from_secs(number(word, words)?),
        _ => return Ok(false),
    }
    Ok(true)
}

fn check(options: &Options) -> Result<(), String> {
    match (options.clock, options.cpus) {
        (Clock::Instructions, Some(cpus)) if cpus != 1 => {
            Err(format!("`--icount` counts on one CPU, not on {cpus}"))
        }
        _ => Ok(()),
    }
}

fn value<'a>(option: &str, words: &mut impl Iterator<Item = &'a String>) -> Result<&'a String, String> {
    words.next().ok_or_else(|| format!("nothing follows `{option}`"))
}

fn number<'a, N: std::str::FromStr + Default + PartialEq>(
    option: &str,
    words: &mut impl Iterator<Item = &'a String>,
) -> Result<N, String> {
    let text = value(option, words)?;
    let number = text.parse().ok().filter(|number| *number != N::default());
    number.ok_or_else(|| format!("`{option}` takes a number above 0, not `{text}`"))
}

fn one_series(name: &str) -> Result<Series, String> {
    let found = Series::ALL.iter().find(|series| series.name() == name);
    found.copied().ok_or_else(|| format!("unknown kernel `{name}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Request, String> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        parse(&words)
    }

    #[test]
    fn a_program_keeps_its_own_options() {
        let line =
            "run --kernel 6.1 --icount --with a --with b=/c --env A=1 --timeout 9 prog --icount --with x";
        let Ok(Request::Run { series, options, program, arguments }) = parsed(line) else { panic!() };
        assert_eq!((series, program.as_str()), (Series::V6_1, "prog"));
        assert_eq!(arguments, ["--icount", "--with", "x"]);
        let expected = Options {
            clock: Clock::Instructions,
            timeout: Duration::from_secs(9),
            files: vec!["a".to_owned(), "b=/c".to_owned()],
            variables: vec!["A=1".to_owned()],
            ..Options::default()
        };
        assert_eq!(options, expected);
    }

    #[test]
    fn a_program_whose_name_begins_with_a_dash_stands_behind_two() {
        let Ok(Request::Run { series, program, arguments, .. }) = parsed("run -- -p -- q") else { panic!() };
        assert_eq!((series, program.as_str()), (Series::V6_12, "-p"));
        assert_eq!(arguments, ["--", "q"]);
    }

    #[test]
    fn tests_run_on_every_kernel_unless_one_is_named() {
        let Ok(Request::Test { series, arguments, .. }) = parsed("test a --smp 3 b -- --exact") else {
            panic!()
        };
        assert_eq!(series, Series::ALL);
        assert_eq!(arguments, ["a", "b", "--exact"]);
        let Ok(Request::Test { series, .. }) = parsed("test --kernel 6.1") else { panic!() };
        assert_eq!(series, [Series::V6_1]);
        assert_eq!(parsed("test --kernel all"), parsed("test"));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (line, message) in [
            ("", "no command after `guest`"),
            ("boot", "unknown command `guest boot`"),
            ("run --icount", "no program to run"),
            ("run --with", "nothing follows `--with`"),
            ("run --", "nothing follows `--`"),
            ("run --wiht a p", "unknown option `--wiht`"),
            ("run --kernel all p", "unknown kernel `all`"),
            ("run --timeout 0 p", "`--timeout` takes a number above 0, not `0`"),
            ("run --memory -1 p", "`--memory` takes a number above 0, not `-1`"),
            ("run --icount --smp 2 p", "`--icount` counts on one CPU, not on 2"),
            ("test --icount --smp 2", "`--icount` counts on one CPU, not on 2"),
            ("test --exact", "unknown option `--exact`"),
        ] {
            assert_eq!(parsed(line), Err(message.to_owned()), "{line}");
        }
    }
}
