//! Building a configuration and starting nginx with it.

use std::fmt::Display;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::conf::{self, Values};
use crate::env;
use crate::process::{Plan, Process};
use crate::running::Running;
use crate::sandbox::{Etc, Landlock, World, seccomp};
use crate::valgrind;

/// A configuration in the making; `start` or `check` it.
#[derive(Debug)]
pub struct Nginx {
    template: String,
    values: Values,
    dir: Dir,
    bare: bool,
    lenient: bool,
    allowed: Vec<String>,
    prefix: Vec<String>,
    landlock: Option<Landlock>,
    refuse_netlink: bool,
    world: Option<World>,
    etc: Option<Etc>,
}

/// What `nginx -t` said.
#[derive(Debug)]
pub struct Checked {
    /// The exit status; None when a signal ended it.
    pub code: Option<i32>,
    /// Everything on standard error.
    pub stderr: String,
    path: PathBuf,
    conf: String,
}

impl Nginx {
    /// The inside of `http {}` around the standard frame. `%name%` is replaced: `%dir%`, the
    /// names given with `set`, and `%listen…%`, each a free loopback address of its own
    /// (`%listen_v6%` on ::1).
    pub fn http(body: &str) -> Self {
        let mut nginx = Self::raw(conf::STANDARD);
        nginx.values.set("http", body.to_owned());
        nginx
    }

    /// The inside of one `server {}` that listens on `%listen%`.
    pub fn server(body: &str) -> Self {
        Self::http(&format!("server {{ listen %listen%; {body} }}"))
    }

    /// The inside of `location / {}`.
    pub fn location(body: &str) -> Self {
        Self::server(&format!("location / {{ {body} }}"))
    }

    /// A whole nginx.conf. Put in what you need of `%load%`, `%paths%`, `%log%`, `%probe%`, `%on%`.
    pub fn raw(template: &str) -> Self {
        let dir = Dir::new();
        let mut values = Values::default();
        for (name, value) in [
            ("main", ""),
            ("events", ""),
            ("error_level", "notice"),
            ("workers", "1"),
            ("master", "on"),
            ("daemon", "off"),
            ("worker_connections", "128"),
            ("paths", conf::PATHS),
            ("log", conf::LOG),
            ("probe", conf::PROBE),
            ("on", "upstream_diagnosis on;"),
            ("json", "$upstream_diagnosis_json"),
        ] {
            values.set(name, value.to_owned());
        }
        values.set("dir", dir.0.display().to_string());
        values.set("scalars", conf::scalars());
        Self {
            template: template.to_owned(),
            values,
            dir,
            bare: false,
            lenient: false,
            allowed: Vec::new(),
            prefix: Vec::new(),
            landlock: None,
            refuse_netlink: false,
            world: None,
            etc: None,
        }
    }

    /// Gives `%name%` a value, for instance a back end.
    pub fn set(mut self, name: &str, value: impl Display) -> Self {
        self.values.set(name, value.to_string());
        self
    }

    /// Main-level directives.
    pub fn main(self, directives: &str) -> Self {
        self.set("main", directives)
    }

    /// Directives inside `events {}`.
    pub fn events(self, directives: &str) -> Self {
        self.set("events", directives)
    }

    /// `error_log`'s level; `notice` otherwise.
    pub fn error_level(self, level: &str) -> Self {
        self.set("error_level", level)
    }

    /// `worker_processes`; 1 otherwise.
    pub fn workers(self, count: u32) -> Self {
        self.set("workers", count)
    }

    /// `worker_connections`; 128 otherwise. The listening sockets and the channel count too.
    pub fn worker_connections(self, count: u32) -> Self {
        self.set("worker_connections", count)
    }

    /// `master_process off`.
    pub fn single_process(self) -> Self {
        self.set("master", "off")
    }

    /// `daemon on`, without which nginx refuses a binary upgrade.
    pub fn daemon(self) -> Self {
        self.set("daemon", "on")
    }

    /// Leaves out `upstream_diagnosis on;` (the module is still loaded).
    pub fn off(self) -> Self {
        self.set("on", "")
    }

    /// Without the module at all.
    pub fn bare(mut self) -> Self {
        self.bare = true;
        self.set("json", "null").set("scalars", "").off()
    }

    /// Does not insist that every X-Upstream-Diagnosis is valid, for tests where the back end's own gets through.
    pub fn lenient(mut self) -> Self {
        self.lenient = true;
        self
    }

    /// Expects `[alert]` or `[emerg]` lines that contain this text.
    pub fn allow_alert(mut self, text: &str) -> Self {
        self.allowed.push(text.to_owned());
        self
    }

    /// Writes a file into `%dir%`; its text is a template too.
    pub fn file(mut self, name: &str, content: &str) -> Self {
        let content = self.values.fill(content);
        fs::write(self.dir.0.join(name), content).expect("write a file");
        self
    }

    /// Starts nginx under another command (`["valgrind", "--tool=callgrind", …]`).
    pub fn prefix(mut self, command: &[&str]) -> Self {
        self.prefix = command.iter().map(|&word| word.to_owned()).collect();
        self
    }

    /// Starts nginx in a world of its own.
    pub fn inside(mut self, world: World) -> Self {
        self.world = Some(world);
        self
    }

    /// Starts nginx in front of that /etc.
    pub fn etc(mut self, etc: &Etc) -> Self {
        self.etc = Some(etc.clone());
        self
    }

    /// Starts nginx in front of an /etc of its own ([`Running::etc`]), with these addresses and
    /// names in its `hosts`.
    pub fn hosts(mut self, entries: &[(&str, &str)]) -> Self {
        self.etc.get_or_insert_default().hosts(entries);
        self
    }

    /// Forbids nginx what Landlock can.
    pub fn landlock(mut self, landlock: Landlock) -> Self {
        self.landlock = Some(landlock);
        self
    }

    /// Forbids nginx to open netlink sockets.
    pub fn refuse_netlink(mut self) -> Self {
        self.refuse_netlink = true;
        self
    }

    /// `nginx -t` with this configuration.
    pub fn check(mut self) -> Checked {
        let conf = self.write();
        let output = self.command(&conf).arg("-t").output().expect("run nginx -t");
        valgrind::verdict(&self.dir.0);
        Checked {
            code: output.status.code(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            conf: fs::read_to_string(&conf).expect("read nginx.conf"),
            path: conf,
        }
    }

    /// Starts nginx and waits until its workers serve.
    pub fn start(mut self) -> Running {
        let conf = self.write();
        let mut command = self.command(&conf);
        let stderr = fs::File::create(self.dir.0.join("stderr")).expect("create stderr");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr);
        let probed = fs::read_to_string(&conf).is_ok_and(|text| text.contains("/probe;"));
        let process = Process::start(command, &self.dir.0, self.plan(probed));
        Running {
            process,
            values: self.values,
            dir: self.dir,
            bare: self.bare,
            lenient: self.lenient,
            allowed: self.allowed,
            etc: self.etc,
            lines_seen: Default::default(),
        }
    }

    fn plan(&self, probed: bool) -> Plan {
        let value = |name| self.values.value(name).unwrap_or_default();
        let known = self.template.contains("%workers%") && value("master") == "on";
        let workers = if known { value("workers").parse().unwrap_or(0) } else { 0 };
        Plan { daemon: value("daemon") == "on", workers, probed }
    }

    fn write(&mut self) -> PathBuf {
        let load = if self.bare { String::new() } else { load_module() };
        self.values.set("load", load);
        let conf = self.dir.0.join("nginx.conf");
        fs::write(&conf, self.values.fill(&self.template)).expect("write nginx.conf");
        conf
    }

    fn command(&self, conf: &Path) -> Command {
        let mut words = self.prefix.clone();
        if words.is_empty() {
            words = valgrind::prefix(&self.dir.0);
        }
        words.push(env::nginx().display().to_string());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).arg("-p").arg(&self.dir.0).arg("-c").arg(conf);
        // Before the configuration is read, errors go where the binary was built to write them.
        command.arg("-e").arg(self.dir.0.join("error.log"));
        if let Some(etc) = &self.etc {
            etc.apply(&mut command);
        }
        if let Some(world) = self.world {
            world.apply(&mut command);
        }
        if let Some(landlock) = &self.landlock {
            landlock.apply(&mut command);
        }
        if self.refuse_netlink {
            seccomp::refuse_netlink(&mut command);
        }
        command
    }
}

fn load_module() -> String {
    format!("load_module {};", env::module().display())
}

impl Checked {
    /// `<path of nginx.conf>:<line>` of the first line that contains the text, as nginx says it.
    pub fn place_of(&self, text: &str) -> String {
        let line = self.conf.lines().position(|line| line.contains(text));
        format!("{}:{}", self.path.display(), line.expect("the text is in nginx.conf") + 1)
    }
}

/// A private directory, removed at the end unless the test failed.
#[derive(Debug)]
pub(crate) struct Dir(pub(crate) PathBuf);

impl Dir {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("ud-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("create a private directory");
        Self(path)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}
