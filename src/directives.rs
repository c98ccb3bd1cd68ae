//! What each directive accepts. Their names and contexts are in the command table (`ffi/tables.rs`).

mod resolve;

use std::rc::Rc;

use crate::conf::{LocConf, Setting};
use crate::ffi::{CidrList, Conf, Directive, SetError};
use crate::trust::Trust;

pub(crate) use resolve::{Resolve, Resolver};

/// Longest identifier of a proxy in `Proxy-Status`.
const MAX_IDENTIFIER: usize = 128;

/// `upstream_diagnosis on | off;`
pub(crate) struct Enable;

impl Directive for Enable {
    type Block = LocConf;

    fn set(conf: &Conf<'_>, block: &mut LocConf) -> Result<(), SetError> {
        once(block.enabled_mut(), flag(conf)?)
    }
}

/// `upstream_diagnosis_evidence on | off;`
pub(crate) struct TakeEvidence;

impl Directive for TakeEvidence {
    type Block = LocConf;

    fn set(conf: &Conf<'_>, block: &mut LocConf) -> Result<(), SetError> {
        once(block.evidence_mut(), flag(conf)?)
    }
}

/// `upstream_diagnosis_lint on | off;`
pub(crate) struct Lint;

impl Directive for Lint {
    type Block = LocConf;

    fn set(conf: &Conf<'_>, block: &mut LocConf) -> Result<(), SetError> {
        once(block.lint_mut(), flag(conf)?)
    }
}

fn flag(conf: &Conf<'_>) -> Result<Setting<()>, SetError> {
    match conf.argument() {
        flag if flag.eq_ignore_ascii_case(b"on") => Ok(Setting::On(())),
        flag if flag.eq_ignore_ascii_case(b"off") => Ok(Setting::Off),
        other => Err(conf.not_a_flag(other)),
    }
}

/// `upstream_diagnosis_header name | off;`
pub(crate) struct Header;

impl Directive for Header {
    type Block = LocConf;

    fn set(conf: &Conf<'_>, block: &mut LocConf) -> Result<(), SetError> {
        let value = match conf.argument() {
            b"off" => Setting::Off,
            name if is_token(name) => Setting::On(text(name)),
            other => return Err(conf.invalid_value(other)),
        };
        once(block.header_mut(), value)
    }
}

/// `upstream_diagnosis_proxy_status identifier | off;`
pub(crate) struct ProxyStatus;

impl Directive for ProxyStatus {
    type Block = LocConf;

    fn set(conf: &Conf<'_>, block: &mut LocConf) -> Result<(), SetError> {
        let value = match conf.argument() {
            b"off" => Setting::Off,
            name if is_identifier(name) => Setting::On(text(name)),
            other => return Err(conf.invalid_value(other)),
        };
        once(block.proxy_status_mut(), value)
    }
}

/// `upstream_diagnosis_trust address | CIDR | unix: | $variable | all | none …;`
pub(crate) struct TrustList;

impl Directive for TrustList {
    type Block = LocConf;

    fn set(conf: &Conf<'_>, block: &mut LocConf) -> Result<(), SetError> {
        let trust = match *conf.arguments() {
            [b"all"] => Trust::All,
            [b"none"] => Trust::None,
            ref several => trust_list(conf, several)?,
        };
        once(block.trust_mut(), Setting::On(Rc::new(trust)))
    }
}

fn trust_list(conf: &Conf<'_>, arguments: &[&[u8]]) -> Result<Trust, SetError> {
    let mut addresses = CidrList::new(conf)?;
    let mut variables = Vec::new();
    for argument in arguments {
        match *argument {
            // Either says everything: beside others it is a slip of the pen.
            b"all" | b"none" => return Err(conf.invalid_value(argument)),
            [b'$', ..] => variables.push(conf.compile(argument)?),
            other => addresses.push(conf, other)?,
        }
    }
    Ok(Trust::Some { addresses, variables })
}

/// `upstream_diagnosis_test_panic callback;`
#[cfg(feature = "test-panic")]
pub(crate) struct TestPanic;

#[cfg(feature = "test-panic")]
impl Directive for TestPanic {
    type Block = LocConf;

    fn set(conf: &Conf<'_>, block: &mut LocConf) -> Result<(), SetError> {
        let name = conf.argument();
        let point = crate::ffi::Point::from_name(name).ok_or_else(|| conf.invalid_value(name))?;
        once(block.panics_at_mut(), Setting::On(point))
    }
}

fn once<T: Clone>(slot: &mut Setting<T>, value: Setting<T>) -> Result<(), SetError> {
    if slot.is_set() {
        return Err(SetError::Duplicate);
    }
    *slot = value;
    Ok(())
}

/// A field name: RFC 9110, section 5.1, `1*tchar`.
fn is_token(name: &[u8]) -> bool {
    !name.is_empty()
        && name.iter().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
}

/// What fits into an RFC 9651 String.
fn is_identifier(name: &[u8]) -> bool {
    (1..=MAX_IDENTIFIER).contains(&name.len())
        && name.iter().all(|byte| matches!(byte, b' '..=b'~'))
}

/// Only called on ASCII, which the checks above have made sure of.
fn text(name: &[u8]) -> Rc<str> {
    String::from_utf8_lossy(name).into()
}
