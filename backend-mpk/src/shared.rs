//! What the domains of one sandbox have in common.

use std::fs::OpenOptions;
use std::sync::Arc;

use nix::errno::Errno;
use ringfence_core::images::Images;
use ringfence_core::{Config, Error};

use crate::job::Job;
use crate::probe::Platform;
use crate::region::{PAGE_BYTES, Sizes};
use crate::syscalls::Rules;
use crate::tls::Template;

/// What every domain of a sandbox is made from.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) platform: &'static Platform,
    pub(crate) rules: Rules,
    pub(crate) template: Template,
    pub(crate) images: Arc<Images>,
    pub(crate) limit_ns: u64,
}

/// Where the TLS block lies in a domain's fixed part.
pub(crate) const TLS_OFFSET: usize = size_of::<Job>().next_multiple_of(PAGE_BYTES);

impl Shared {
    pub(crate) fn new(config: &Config, platform: &'static Platform) -> Result<Self, Error> {
        let null = OpenOptions::new().read(true).write(true).open("/dev/null");
        let null = null.map_err(|error| Error::os("open /dev/null", error))?;
        let template = Template::capture().map_err(|error| {
            Error::os("make a domain's thread-local storage", std::io::Error::other(error))
        })?;
        Ok(Self {
            config: config.clone(),
            platform,
            rules: Rules::new(&config.policy, null.into()),
            template,
            images: Images::capture(),
            limit_ns: u64::try_from(config.limits.wall_limit().as_nanos()).unwrap_or(u64::MAX),
        })
    }

    pub(crate) fn sizes(&self) -> Result<Sizes, Error> {
        let limits = &self.config.limits;
        let heap_bytes = usize::try_from(limits.memory_limit_bytes())
            .map_err(|_| Error::os("reserve a domain's memory", Errno::ENOMEM))?;
        Ok(Sizes {
            stack_bytes: limits.stack_limit_bytes(),
            fixed_bytes: TLS_OFFSET + self.template.bytes(),
            request_bytes: limits.request_limit_bytes(),
            reply_bytes: limits.reply_limit_bytes(),
            heap_bytes,
        })
    }
}
