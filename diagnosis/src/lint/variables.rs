//! A name that only a resolver could turn into an address, and no resolver.

use super::configuration::{Configuration, Pass, Scope};
use super::target::{self, Target};
use super::{Finding, shown};

/// What a `*_pass` with variables is known to point to.
enum Known<'c> {
    /// This name, which is no upstream.
    Name(&'c [u8]),
    /// Addresses, sockets and upstreams only.
    Fine,
    /// A map, a client or another module says it.
    Unknown,
}

/// The `*_pass` lines that need a resolver and have none.
pub(super) fn find(configuration: &Configuration) -> Vec<Finding> {
    let unresolved = configuration
        .passes()
        .filter(|pass| pass.directive.argument().contains(&b'$') && !has_resolver(pass.scope));
    unresolved.filter_map(|pass| finding(configuration, pass)).collect()
}

fn has_resolver(scope: Scope<'_>) -> bool {
    scope.inherited(b"resolver").is_some_and(|resolver| resolver.argument() != b"off")
}

fn finding(configuration: &Configuration, pass: Pass<'_>) -> Option<Finding> {
    let argument = pass.directive.argument();
    let known = match target::parse(argument) {
        Target::Variable => of_variable(configuration, argument),
        target @ (Target::Name { .. } | Target::Unix(_) | Target::Address) => {
            of_target(configuration, target)
        }
    };
    let place = pass.directive.place();
    match known {
        Known::Fine => None,
        Known::Name(name) => Some(Finding::warn(
            format!(
                "variables in \"{}\" and no resolver: \"{}\" is never looked up, and every request \
                 is answered with 502",
                shown(argument),
                shown(name)
            ),
            place,
        )),
        // It may be the name of an upstream.
        Known::Unknown if configuration.upstreams().next().is_some() => None,
        Known::Unknown => Some(Finding::notice(
            format!(
                "variables in \"{}\" and no resolver: a host name in them is answered with 502",
                shown(argument)
            ),
            place,
        )),
    }
}

/// At run time nginx looks among the upstreams first, also those that another `*_pass` implies.
fn of_target<'c>(configuration: &Configuration, target: Target<'c>) -> Known<'c> {
    match target {
        Target::Name { host, whole } if !is_upstream(configuration, host, whole) => {
            Known::Name(whole)
        }
        Target::Name { .. } | Target::Unix(_) | Target::Address => Known::Fine,
        Target::Variable => Known::Unknown,
    }
}

fn is_upstream(configuration: &Configuration, host: &[u8], whole: &[u8]) -> bool {
    let implied = || {
        let literal = |argument: &[u8]| !argument.contains(&b'$');
        configuration.passes().any(|pass| {
            let argument = pass.directive.argument();
            let Target::Name { host: other, .. } = target::parse(argument) else { return false };
            literal(argument) && other.eq_ignore_ascii_case(host)
        })
    };
    configuration.upstream(whole).is_some() || configuration.upstream(host).is_some() || implied()
}

/// The whole argument, or the host in it, is one variable: what `set` gives it, if only `set` does.
fn of_variable<'c>(configuration: &'c Configuration, argument: &[u8]) -> Known<'c> {
    let Some(name) = only_variable(argument) else { return Known::Unknown };
    let mut values = configuration
        .scopes()
        .flat_map(|scope| scope.all(b"set"))
        .filter(|set| set.argument() == name)
        .filter_map(|set| set.arguments().get(1))
        .peekable();
    if values.peek().is_none() {
        return Known::Unknown;
    }
    let mut all = Known::Fine;
    for value in values {
        match of_target(configuration, target::parse(value)) {
            Known::Fine => {}
            Known::Name(name) if !value.contains(&b'$') => return Known::Name(name),
            Known::Name(_) | Known::Unknown => all = Known::Unknown,
        }
    }
    all
}

/// `$backend`, or the same after a scheme and before a path; without braces.
fn only_variable(argument: &[u8]) -> Option<&[u8]> {
    let from = argument.iter().position(|byte| *byte == b'$')?;
    let before = argument.get(..from)?;
    if !before.is_empty() && !before.ends_with(b"://") {
        return None;
    }
    let rest = argument.get(from..)?;
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let length = rest.iter().skip(1).take_while(|byte| is_name(byte)).count();
    let (name, after) = rest.split_at_checked(length.checked_add(1)?)?;
    (after.is_empty() || after.starts_with(b"/") || after.starts_with(b"$")).then_some(name)
}
