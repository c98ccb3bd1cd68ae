//! `upstream_diagnosis_resolve` and `upstream_diagnosis_resolver`.

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use super::once;
use crate::conf::{Setting, SrvConf};
use crate::ffi::{Conf, Directive, SetError};
use crate::reresolve::{Mode, Servers, Settings};

/// Where a name server listens when nothing else is said.
const DNS_PORT: u16 = 53;

/// `upstream_diagnosis_resolve off | failure | ttl [min=time] [max=time] [timeout=time] [wait=time]
/// [ipv4=on|off] [ipv6=on|off];`
pub(crate) struct Resolve;

impl Directive for Resolve {
    type Block = SrvConf;

    fn set(conf: &Conf<'_>, block: &mut SrvConf) -> Result<(), SetError> {
        let value = match *conf.arguments() {
            [b"off"] => Setting::Off,
            [b"off", extra, ..] => return Err(conf.invalid_value(extra)),
            [b"failure", ref rest @ ..] => settings(conf, Mode::Failure, rest)?,
            [b"ttl", ref rest @ ..] => settings(conf, Mode::Ttl, rest)?,
            [other, ..] => return Err(conf.invalid_value(other)),
            [] => return Err(conf.invalid_value(b"")),
        };
        once(block.resolve_mut(), value)
    }
}

fn settings(
    conf: &Conf<'_>,
    mode: Mode,
    parameters: &[&[u8]],
) -> Result<Setting<Settings>, SetError> {
    let mut settings = Settings::new(mode);
    for parameter in parameters {
        apply(&mut settings, parameter).ok_or_else(|| conf.invalid_value(parameter))?;
    }
    if settings.min_ms > settings.max_ms {
        return Err(conf.refuse("\"min\" must not be greater than \"max\""));
    }
    if !settings.ipv4 && !settings.ipv6 {
        return Err(conf.refuse("\"ipv4\" and \"ipv6\" cannot both be \"off\""));
    }
    Ok(Setting::On(settings))
}

/// `None` for what is no parameter, or has no such value.
fn apply(settings: &mut Settings, parameter: &[u8]) -> Option<()> {
    let equals = parameter.iter().position(|byte| *byte == b'=')?;
    let (name, value) = (parameter.get(..equals)?, parameter.get(equals.checked_add(1)?..)?);
    match name {
        b"min" => settings.min_ms = above_zero(value)?,
        b"max" => settings.max_ms = above_zero(value)?,
        b"timeout" => settings.timeout_ms = above_zero(value)?,
        b"wait" => settings.wait_ms = Conf::milliseconds(value)?,
        b"ipv4" => settings.ipv4 = switch(value)?,
        b"ipv6" => settings.ipv6 = switch(value)?,
        _ => return None,
    }
    Some(())
}

/// Without a minimum there would be a query for each failure.
fn above_zero(value: &[u8]) -> Option<u64> {
    Conf::milliseconds(value).filter(|time| *time > 0)
}

fn switch(value: &[u8]) -> Option<bool> {
    match value {
        b"on" => Some(true),
        b"off" => Some(false),
        _ => None,
    }
}

/// `upstream_diagnosis_resolver system [conf=path] [hosts=path] | address[:port] …;`
pub(crate) struct Resolver;

impl Directive for Resolver {
    type Block = SrvConf;

    fn set(conf: &Conf<'_>, block: &mut SrvConf) -> Result<(), SetError> {
        let servers = match *conf.arguments() {
            [b"system", ref files @ ..] => system(conf, files)?,
            ref addresses => listed(conf, addresses)?,
        };
        once(block.resolver_mut(), Setting::On(servers))
    }
}

fn system(conf: &Conf<'_>, files: &[&[u8]]) -> Result<Servers, SetError> {
    let mut paths = match Servers::default() {
        Servers::System { conf, hosts } => [conf, hosts],
        Servers::Listed(_) => return Err(conf.invalid_value(b"system")),
    };
    for file in files {
        let (at, path) = match file {
            [b'c', b'o', b'n', b'f', b'=', path @ ..] => (0, path),
            [b'h', b'o', b's', b't', b's', b'=', path @ ..] => (1, path),
            other => return Err(conf.invalid_value(other)),
        };
        let full = Some(path).filter(|path| !path.is_empty()).and_then(|path| conf.full_path(path));
        let full = full.ok_or_else(|| conf.invalid_value(file))?;
        if let Err(error) = std::fs::metadata(full.as_ref()) {
            return Err(conf.refuse(&format!("cannot read \"{full}\": {error}")));
        }
        if let Some(place) = paths.get_mut(at) {
            *place = full;
        }
    }
    let [conf, hosts] = paths;
    Ok(Servers::System { conf, hosts })
}

fn listed(conf: &Conf<'_>, addresses: &[&[u8]]) -> Result<Servers, SetError> {
    let parsed: Result<Rc<[SocketAddr]>, SetError> = addresses
        .iter()
        .map(|text| address(text).ok_or_else(|| conf.invalid_value(text)))
        .collect();
    parsed.map(Servers::Listed)
}

/// An address, with or without a port; IPv6 in brackets, as everywhere in nginx.
fn address(text: &[u8]) -> Option<SocketAddr> {
    let text = std::str::from_utf8(text).ok()?;
    let bare = || {
        let inner = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let ip: IpAddr = match inner {
            Some(v6) => IpAddr::V6(v6.parse().ok()?),
            None => IpAddr::V4(text.parse().ok()?),
        };
        Some(SocketAddr::new(ip, DNS_PORT))
    };
    text.parse().ok().filter(|address: &SocketAddr| address.port() != 0).or_else(bare)
}
