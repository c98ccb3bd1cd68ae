//! The directives that the rules read, block by block, as nginx came upon them.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::rc::Rc;

/// Modules that pass requests on; their directives begin so.
const PROTOCOLS: [&[u8]; 6] = [b"proxy", b"fastcgi", b"uwsgi", b"scgi", b"grpc", b"memcached"];
/// The ends of their directives that are read.
const OF_PROTOCOLS: [&[u8]; 8] = [
    b"_pass",
    b"_read_timeout",
    b"_buffering",
    b"_buffers",
    b"_busy_buffers_size",
    b"_max_temp_file_size",
    b"_http_version",
    b"_set_header",
];
/// Other directives and blocks that are read, by a rule or for re-resolution.
const OTHERS: [&[u8]; 17] = [
    b"server",
    b"location",
    b"upstream",
    b"if",
    b"limit_except",
    b"set",
    b"keepalive",
    b"keepalive_timeout",
    b"hash",
    b"ip_hash",
    b"sticky",
    b"resolver",
    b"error_log",
    b"fastcgi_keep_conn",
    b"upstream_diagnosis",
    b"upstream_diagnosis_resolve",
    b"upstream_diagnosis_trust",
];

/// Whether some rule reads the directive or block of that name.
pub fn is_recorded(name: &[u8]) -> bool {
    OTHERS.contains(&name)
        || protocol_of(name).is_some_and(|(_, rest)| OF_PROTOCOLS.contains(&rest))
}

/// Splits `proxy_pass` into `proxy` and `_pass`.
fn protocol_of(name: &[u8]) -> Option<(&'static [u8], &[u8])> {
    PROTOCOLS.iter().find_map(|protocol| Some((*protocol, name.strip_prefix(*protocol)?)))
}

/// Where a directive stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The file's path.
    pub file: Rc<[u8]>,
    /// The line of its end, as nginx counts.
    pub line: u64,
}

/// One directive, or the head of a block.
#[derive(Clone, Debug, Default)]
pub struct Directive {
    words: Vec<Vec<u8>>,
    place: Place,
}

impl Directive {
    /// Its first word.
    pub fn name(&self) -> &[u8] {
        self.words.first().map(Vec::as_slice).unwrap_or_default()
    }

    /// The words after the name.
    pub fn arguments(&self) -> &[Vec<u8>] {
        self.words.get(1..).unwrap_or_default()
    }

    /// The first word after the name.
    pub fn argument(&self) -> &[u8] {
        self.arguments().first().map(Vec::as_slice).unwrap_or_default()
    }

    /// Where it stands.
    pub fn place(&self) -> &Place {
        &self.place
    }
}

#[derive(Debug, Default)]
struct Block {
    head: Directive,
    outer: Option<usize>,
    directives: Vec<Directive>,
}

/// A block of the configuration: `http`, `server`, `location` …
#[derive(Clone, Copy, Debug)]
pub(super) struct Scope<'c> {
    configuration: &'c Configuration,
    index: usize,
}

/// A directive that passes requests on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pass<'c> {
    pub(super) scope: Scope<'c>,
    pub(super) directive: &'c Directive,
    /// `proxy`, `fastcgi` …
    pub(super) protocol: &'static [u8],
}

/// What stands inside `http`.
#[derive(Debug)]
pub struct Configuration {
    blocks: Vec<Block>,
    current: usize,
    /// Where the upstreams are, by their names in lower case.
    upstreams: HashMap<Vec<u8>, usize>,
}

impl Default for Configuration {
    fn default() -> Self {
        Self { blocks: vec![Block::default()], current: 0, upstreams: HashMap::new() }
    }
}

impl Configuration {
    /// nginx has come upon a directive.
    pub fn add(&mut self, words: Vec<Vec<u8>>, place: Place) {
        if let Some(block) = self.blocks.get_mut(self.current) {
            block.directives.push(Directive { words, place });
        }
    }

    /// nginx has come upon a block; what follows stands in it.
    pub fn open(&mut self, words: Vec<Vec<u8>>, place: Place) {
        let head = Directive { words, place };
        let is_upstream = head.name() == b"upstream";
        let upstream = is_upstream.then(|| head.argument().to_ascii_lowercase());
        self.blocks.push(Block { head, outer: Some(self.current), directives: Vec::new() });
        self.current = self.blocks.len().saturating_sub(1);
        if let Some(name) = upstream {
            self.upstreams.insert(name, self.current);
        }
    }

    /// The block that was opened last is complete.
    pub fn close(&mut self) {
        self.current = self.blocks.get(self.current).and_then(|block| block.outer).unwrap_or(0);
    }

    /// The file and line of the directive that was added last.
    pub fn last_file(&self) -> Option<Rc<[u8]>> {
        let block = self.blocks.get(self.current)?;
        Some(Rc::clone(&block.directives.last().unwrap_or(&block.head).place.file))
    }

    pub(super) fn scopes(&self) -> impl Iterator<Item = Scope<'_>> {
        (0..self.blocks.len()).map(|index| Scope { configuration: self, index })
    }

    /// `upstream name { … }`.
    pub(super) fn upstreams(&self) -> impl Iterator<Item = Scope<'_>> {
        self.scopes().filter(|scope| scope.name() == b"upstream")
    }

    /// The `upstream` block of that name.
    pub(super) fn upstream(&self, name: &[u8]) -> Option<Scope<'_>> {
        let index = *self.upstreams.get(&name.to_ascii_lowercase())?;
        Some(Scope { configuration: self, index })
    }

    /// The `server` lines and then the `*_pass` lines of which `of` makes something of their argument,
    /// the first of each that is the same.
    pub(super) fn targets<'c, T: Copy + Eq + Hash>(
        &'c self,
        of: impl Fn(&'c [u8]) -> Option<T>,
    ) -> Vec<(&'c Directive, T)> {
        let servers = self.upstreams().flat_map(|upstream| upstream.all(b"server"));
        let passes = self.passes().map(|pass| pass.directive);
        let mut seen = HashSet::new();
        let found = servers.chain(passes).filter_map(|line| Some((line, of(line.argument())?)));
        found.filter(|(_, target)| seen.insert(*target)).collect()
    }

    pub(super) fn passes(&self) -> impl Iterator<Item = Pass<'_>> {
        self.scopes().flat_map(|scope| {
            scope.directives().iter().filter_map(move |directive| {
                let (protocol, rest) = protocol_of(directive.name())?;
                (rest == b"_pass").then_some(Pass { scope, directive, protocol })
            })
        })
    }

    /// Every directive whose name ends so, whatever module it belongs to.
    pub(super) fn of_protocols(&self, end: &'static [u8]) -> impl Iterator<Item = &Directive> {
        self.scopes()
            .flat_map(|scope| scope.directives())
            .filter(move |directive| protocol_of(directive.name()).is_some_and(|(_, e)| e == end))
    }
}

impl<'c> Scope<'c> {
    fn block(self) -> Option<&'c Block> {
        self.configuration.blocks.get(self.index)
    }

    /// `upstream`, `server`, `location` …; empty for `http`.
    pub(super) fn name(self) -> &'c [u8] {
        self.block().map(|block| block.head.name()).unwrap_or_default()
    }

    /// The first word after the block's name.
    pub(super) fn argument(self) -> &'c [u8] {
        self.block().map(|block| block.head.argument()).unwrap_or_default()
    }

    pub(super) fn directives(self) -> &'c [Directive] {
        self.block().map(|block| block.directives.as_slice()).unwrap_or_default()
    }

    /// Those of that name in this very block.
    pub(super) fn all(self, name: &[u8]) -> impl Iterator<Item = &'c Directive> {
        self.directives().iter().filter(move |directive| directive.name() == name)
    }

    /// The nearest block, from this one outwards, that has such a directive.
    pub(super) fn nearest(self, name: &[u8]) -> Option<Self> {
        let mut scope = Some(self);
        while let Some(here) = scope {
            if here.all(name).next().is_some() {
                return scope;
            }
            let outer = here.block()?.outer;
            scope = outer.map(|index| Self { index, ..here });
        }
        None
    }

    /// The directive in force here.
    pub(super) fn inherited(self, name: &[u8]) -> Option<&'c Directive> {
        self.nearest(name)?.all(name).next()
    }
}
