//! A name that only a resolver could turn into an address, and no resolver.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::configuration::{Configuration, Directive, Pass, Scope};
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

/// What a name or a variable may stand for.
struct Names<'c> {
    configuration: &'c Configuration,
    /// Hosts of the `*_pass` lines without variables, in lower case: each is an upstream too.
    implied: HashSet<Vec<u8>>,
    /// What `set` gives to a variable.
    values: HashMap<&'c [u8], BTreeSet<&'c [u8]>>,
}

/// The `*_pass` lines that need a resolver and have none.
pub(super) fn find(configuration: &Configuration) -> Vec<Finding> {
    let unresolved: Vec<Pass<'_>> = configuration
        .passes()
        .filter(|pass| pass.directive.argument().contains(&b'$') && !has_resolver(pass.scope))
        .collect();
    if unresolved.is_empty() {
        return Vec::new();
    }
    let names = Names::new(configuration);
    unresolved.into_iter().filter_map(|pass| names.judge(pass)).collect()
}

fn has_resolver(scope: Scope<'_>) -> bool {
    scope.inherited(b"resolver").is_some_and(|resolver| resolver.argument() != b"off")
}

impl<'c> Names<'c> {
    fn new(configuration: &'c Configuration) -> Self {
        let mut implied = HashSet::new();
        for argument in configuration.passes().map(|pass| pass.directive.argument()) {
            let target = target::parse(argument);
            if let (Target::Name { host, .. }, false) = (target, argument.contains(&b'$')) {
                implied.insert(host.to_ascii_lowercase());
            }
        }
        let mut values: HashMap<&[u8], BTreeSet<&[u8]>> = HashMap::new();
        for set in configuration.scopes().flat_map(|scope| scope.all(b"set")) {
            if let [name, value] = set.arguments() {
                values.entry(name).or_default().insert(value);
            }
        }
        Self { configuration, implied, values }
    }

    fn judge(&self, pass: Pass<'c>) -> Option<Finding> {
        let argument = pass.directive.argument();
        let known = match target::parse(argument) {
            Target::Variable => self.of_variable(argument),
            target @ (Target::Name { .. } | Target::Unix(_) | Target::Address { .. }) => {
                self.of_target(target)
            }
        };
        match known {
            Known::Fine => None,
            Known::Name(name) => Some(never(pass.directive, name)),
            // It may be the name of an upstream.
            Known::Unknown if self.configuration.upstreams().next().is_some() => None,
            Known::Unknown => Some(perhaps(pass.directive)),
        }
    }

    /// At run time nginx looks among the upstreams first, also those that another `*_pass` implies.
    fn of_target(&self, target: Target<'c>) -> Known<'c> {
        match target {
            Target::Name { host, whole } if !self.is_upstream(host) => Known::Name(whole),
            Target::Name { .. } | Target::Unix(_) | Target::Address { .. } => Known::Fine,
            Target::Variable => Known::Unknown,
        }
    }

    fn is_upstream(&self, host: &[u8]) -> bool {
        self.configuration.upstream(host).is_some()
            || self.implied.contains(&host.to_ascii_lowercase())
    }

    /// The whole argument, or the host in it, is one variable: what `set` gives it, if it does.
    fn of_variable(&self, argument: &[u8]) -> Known<'c> {
        let values = only_variable(argument).and_then(|name| self.values.get(name));
        let Some(values) = values else { return Known::Unknown };
        let mut all = Known::Fine;
        for value in values {
            match self.of_target(target::parse(value)) {
                Known::Fine => {}
                Known::Name(name) if !value.contains(&b'$') => return Known::Name(name),
                Known::Name(_) | Known::Unknown => all = Known::Unknown,
            }
        }
        all
    }
}

fn never(pass: &Directive, name: &[u8]) -> Finding {
    let text = format!(
        "variables in \"{}\" and no resolver: \"{}\" is never looked up, and every request is \
         answered with 502",
        shown(pass.argument()),
        shown(name)
    );
    Finding::warn(text, pass.place())
}

fn perhaps(pass: &Directive) -> Finding {
    let text = format!(
        "variables in \"{}\" and no resolver: a host name in them is answered with 502",
        shown(pass.argument())
    );
    Finding::notice(text, pass.place())
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
