//! Rules about files that no other tool checks.
//!
//! | rule | where |
//! |---|---|
//! | a file whose code says `unsafe` has a `# Safety` section in the docs it opens with | Rust |
//! | unsafe code is expected with a reason, never allowed: the inventory must be complete | Rust |
//! | no test is switched off | Rust |
//! | at most 500 lines | sources and scripts |
//! | no marker of unfinished work | sources, scripts, manifests, texts |
//!
//! The files that expect unsafe code are listed in every run.

mod code_view;
mod files;
mod rules;

use std::fmt;
use std::path::Path;

use self::rules::Finding;

/// Rules that files break.
#[derive(Debug)]
pub(crate) struct Findings(usize);

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "findings: {}", self.0)
    }
}

/// Prints the inventory of unsafe code and every finding.
///
/// # Errors
/// There is a finding. A file that cannot be read is one.
pub(crate) fn check(workspace: &Path) -> Result<(), Findings> {
    let mut findings: Vec<Finding> = Vec::new();
    let mut inventory = Vec::new();
    let files = match files::list(workspace) {
        Ok(files) => files,
        Err(error) => {
            println!("{}: {error}", workspace.display());
            return Err(Findings(1));
        }
    };
    for file in &files {
        match file.read(workspace) {
            Ok(text) => {
                let checked = rules::check(file, &text);
                findings.extend(checked.findings);
                if checked.expects_unsafe {
                    inventory.push(file);
                }
            }
            Err(error) => {
                findings.push(Finding { path: file.path.clone(), line: 1, rule: error.to_string() });
            }
        }
    }
    println!("{} of {} files expect unsafe code:", inventory.len(), files.len());
    for file in inventory {
        println!("    {}", file.path.display());
    }
    for finding in &findings {
        println!("{finding}");
    }
    if findings.is_empty() { Ok(()) } else { Err(Findings(findings.len())) }
}
