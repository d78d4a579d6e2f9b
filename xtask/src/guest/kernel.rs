//! Debian's kernels for cloud machines, downloaded and unpacked, never installed.
//!
//! | file below the target folder | what it is |
//! |---|---|
//! | `guest/kernels/VERSION/vmlinuz` | the kernel of that exact package version |
//! | `guest/kernels/SERIES` | the version last found; stands until apt's lists change |

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::failure::Failure;
use super::scratch::Scratch;
use crate::needs::{self, Install};
use crate::process;

const LISTS: &str = "/var/lib/apt/lists";

/// A kernel series that guests run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Series {
    V6_1,
    V6_12,
}

impl Series {
    pub(super) const ALL: &[Self] = &[Self::V6_1, Self::V6_12];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::V6_1 => "6.1",
            Self::V6_12 => "6.12",
        }
    }

    /// The package that depends on the newest kernel of the series.
    fn metapackage(self) -> &'static str {
        match self {
            Self::V6_1 => "linux-image-cloud-amd64",
            Self::V6_12 => "linux-image-6.12-cloud-amd64",
        }
    }
}

/// A kernel on this machine.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Kernel {
    /// The package's exact version.
    pub(super) version: String,
    pub(super) image: PathBuf,
}

/// A package, as apt names it.
#[derive(Debug, PartialEq, Eq)]
struct Package {
    name: String,
    version: String,
}

/// The series' newest kernel that apt knows. It is downloaded where it is not yet there; apt's lists are brought up to date
/// where they lead nowhere.
///
/// # Errors
/// Apt does not know the kernel or cannot download it, and its lists cannot, or may not, be brought up to date.
pub(super) fn get(guest: &Path, series: Series, install: Install) -> Result<Kernel, Failure> {
    let kernels = guest.join("kernels");
    fs::create_dir_all(&kernels).map_err(Failure::file("create", &kernels))?;
    if let Some(known) = known(&kernels, series) {
        return Ok(known);
    }
    let kernel = match find_and_download(guest, &kernels, series) {
        Ok(kernel) => kernel,
        Err(first) => {
            eprintln!("xtask: {first}; bringing apt's lists up to date");
            needs::update_lists(install).map_err(Failure::Needs)?;
            find_and_download(guest, &kernels, series)?
        }
    };
    let stamp = kernels.join(series.name());
    fs::write(&stamp, &kernel.version).map_err(Failure::file("write", &stamp))?;
    Ok(kernel)
}

/// What was found before, if apt's lists are older than that.
fn known(kernels: &Path, series: Series) -> Option<Kernel> {
    let stamp = kernels.join(series.name());
    let changed = |path: &Path| fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    if changed(&stamp)? < changed(Path::new(LISTS))? {
        return None;
    }
    let kernel = kernel(kernels, fs::read_to_string(&stamp).ok()?);
    kernel.image.is_file().then_some(kernel)
}

fn kernel(kernels: &Path, version: String) -> Kernel {
    let image = kernels.join(&version).join("vmlinuz");
    Kernel { version, image }
}

fn find_and_download(guest: &Path, kernels: &Path, series: Series) -> Result<Kernel, Failure> {
    let package = find(series)?;
    let kernel = kernel(kernels, package.version.clone());
    if !kernel.image.is_file() {
        download(guest, &package, &kernel.image)?;
    }
    Ok(kernel)
}

fn find(series: Series) -> Result<Package, Failure> {
    let unsaid = |command: &[&str], wanted| Failure::Unsaid { command: command.join(" "), wanted };
    let depends = ["apt-cache", "depends", series.metapackage()];
    let name = depended_kernel(&process::output(command(&depends))?)
        .ok_or_else(|| unsaid(&depends, "kernel"))?
        .to_owned();
    let show = ["apt-cache", "show", "--no-all-versions", &name];
    let version =
        shown_version(&process::output(command(&show))?).ok_or_else(|| unsaid(&show, "version"))?.to_owned();
    Ok(Package { name, version })
}

fn command(words: &[&str]) -> Command {
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).env("LC_ALL", "C");
    command
}

/// `  Depends: linux-image-6.1.0-56-cloud-amd64`.
fn depended_kernel(depends: &str) -> Option<&str> {
    let names = depends.lines().filter_map(|line| line.trim_start().strip_prefix("Depends: "));
    names.map(str::trim).find(|name| name.starts_with("linux-image-"))
}

/// `Version: 6.1.192-2`.
fn shown_version(record: &str) -> Option<&str> {
    record.lines().find_map(|line| line.strip_prefix("Version: ")).map(str::trim)
}

fn download(guest: &Path, package: &Package, image: &Path) -> Result<(), Failure> {
    let scratch = Scratch::new(guest)?;
    let mut apt = Command::new("apt-get");
    apt.args(["download", &format!("{}={}", package.name, package.version)]).current_dir(scratch.path());
    process::run_on_stderr(apt)?;
    let archive = only_entry(scratch.path(), |name| name.ends_with(".deb"))?;
    let unpacked = scratch.path().join("unpacked");
    let mut unpack = Command::new("dpkg-deb");
    unpack.arg("-x").arg(archive).arg(&unpacked);
    process::run_on_stderr(unpack)?;
    let found = only_entry(&unpacked.join("boot"), |name| name.starts_with("vmlinuz-"))?;
    let folder = image.parent().unwrap_or(guest);
    fs::create_dir_all(folder).map_err(Failure::file("create", folder))?;
    // A rename, so that another run never sees half a kernel.
    fs::rename(found, image).map_err(Failure::file("write", image))
}

fn only_entry(folder: &Path, is_wanted: impl Fn(&str) -> bool) -> Result<PathBuf, Failure> {
    let entries = fs::read_dir(folder).map_err(Failure::file("read", folder))?;
    let mut wanted = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.file_name().and_then(|name| name.to_str()).is_some_and(&is_wanted));
    wanted
        .next()
        .ok_or_else(|| Failure::Unsaid { command: format!("ls {}", folder.display()), wanted: "kernel" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_is_the_image_among_the_dependencies() {
        let text =
            "linux-image-cloud-amd64\n  Depends: something\n  Depends: linux-image-6.1.0-56-cloud-amd64\n";
        assert_eq!(depended_kernel(text), Some("linux-image-6.1.0-56-cloud-amd64"));
        assert_eq!(depended_kernel("linux-image-cloud-amd64\n  Suggests: linux-image-x\n"), None);
        assert_eq!(depended_kernel(""), None);
    }

    #[test]
    fn the_version_is_a_field_of_its_own() {
        let text = "Package: linux-image-6.12\nX-Version: 1\nVersion: 6.12.117-1~deb12u1\nDepends: a\n";
        assert_eq!(shown_version(text), Some("6.12.117-1~deb12u1"));
        assert_eq!(shown_version("Package: a\n"), None);
    }

    #[test]
    fn a_version_without_its_image_is_not_known() {
        let scratch = Scratch::new(&std::env::temp_dir()).unwrap();
        fs::write(scratch.path().join("6.1"), "1.2-3").unwrap();
        assert_eq!(known(scratch.path(), Series::V6_1), None);
        fs::create_dir(scratch.path().join("1.2-3")).unwrap();
        fs::write(scratch.path().join("1.2-3/vmlinuz"), "").unwrap();
        let lists = Path::new(LISTS).is_dir();
        assert_eq!(known(scratch.path(), Series::V6_1).is_some(), lists);
        assert_eq!(known(scratch.path(), Series::V6_12), None);
    }
}
