//! Talking to a running nginx, and making sure that it ends well.

use std::cell::Cell;
use std::fs;
use std::path::Path;

use crate::client::Client;
use crate::conf::Values;
use crate::log::{self, LogLine};
use crate::nginx::Dir;
use crate::process::Process;
use crate::reply::Reply;
use crate::sandbox::Etc;
use crate::valgrind;
use crate::wait;

/// A running nginx. Dropping it stops it and fails the test when something went wrong inside.
#[derive(Debug)]
pub struct Running {
    pub(crate) process: Process,
    pub(crate) values: Values,
    pub(crate) dir: Dir,
    pub(crate) bare: bool,
    pub(crate) lenient: bool,
    pub(crate) allowed: Vec<String>,
    pub(crate) etc: Option<Etc>,
    pub(crate) lines_seen: Cell<usize>,
}

/// One request, from both sides.
#[derive(Debug)]
pub struct Seen {
    /// What the client got.
    pub reply: Reply,
    /// What the access log says.
    pub line: LogLine,
}

impl Running {
    /// The address given to `%name%`, for instance `listen`.
    pub fn address(&self, name: &str) -> &str {
        self.values.value(name).unwrap_or_else(|| panic!("no %{name}% in this configuration"))
    }

    /// A new connection to `%listen%`.
    pub fn connect(&self) -> Client {
        Client::connect(self.address("listen"))
    }

    /// `GET path` on a connection of its own.
    pub fn get(&self, path: &str) -> Reply {
        self.request("GET", path, &[], b"")
    }

    /// `POST path` on a connection of its own.
    pub fn post(&self, path: &str, body: &[u8]) -> Reply {
        self.request("POST", path, &[], body)
    }

    /// One request on a connection of its own.
    pub fn request(&self, method: &str, path: &str, headers: &[&str], body: &[u8]) -> Reply {
        let reply = self.connect().request(method, path, headers, body);
        self.judge(&reply);
        reply
    }

    /// `GET path` and the log line that it made, held against each other.
    pub fn fetch(&self, path: &str) -> Seen {
        self.fetch_with("GET", path, &[], b"")
    }

    /// One request and the log line that it made, held against each other.
    pub fn fetch_with(&self, method: &str, path: &str, headers: &[&str], body: &[u8]) -> Seen {
        let reply = self.request(method, path, headers, body);
        let line = self.logged();
        assert_eq!(line.field("status"), reply.status.to_string(), "status in log and response");
        let seen = Seen { reply, line };
        seen.check();
        seen
    }

    /// The next line of the access log that was not read yet; waits for it.
    pub fn logged(&self) -> LogLine {
        let at = self.lines_seen.get();
        let mut lines = self.log(at + 1);
        self.lines_seen.set(at + 1);
        lines.swap_remove(at)
    }

    /// Every line of the access log, as soon as there are `count`.
    pub fn log(&self, count: usize) -> Vec<LogLine> {
        wait::until(&format!("{count} log lines"), || {
            Some(log::read(&self.dir.0)).filter(|lines| lines.len() >= count)
        })
    }

    /// The text of error.log so far.
    pub fn error_log(&self) -> String {
        let bytes = fs::read(self.dir.0.join("error.log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Waits for a line of error.log that contains the text, and returns it.
    pub fn wait_for_error(&self, text: &str) -> String {
        wait::until(&format!("{text:?} in error.log"), || {
            self.error_log().lines().find(|line| line.contains(text)).map(str::to_owned)
        })
    }

    /// The private directory: nginx.conf, logs, temporary files.
    pub fn dir(&self) -> &Path {
        &self.dir.0
    }

    /// The /etc that nginx was started in front of, to change it.
    pub fn etc(&self) -> &Etc {
        self.etc.as_ref().expect("Nginx::hosts or Nginx::etc")
    }

    /// Rewrites a file in `%dir%`, for instance nginx.conf before a reload.
    pub fn rewrite(&mut self, name: &str, template: &str) {
        let content = self.values.fill(template);
        fs::write(self.dir.0.join(name), content).expect("write a file");
    }

    /// Quits nginx, waits for its end and looks for everything that must not have happened; what
    /// dropping does too, here at a chosen moment.
    pub fn stop(self) {}

    fn judge(&self, reply: &Reply) {
        if !self.bare && !self.lenient {
            let _ = reply.members();
            let _ = reply.list("Proxy-Status");
        }
    }

    fn complaints(&self) -> Vec<String> {
        let mut found: Vec<String> = self
            .error_log()
            .lines()
            .filter(|line| {
                let fatal = ["[alert]", "[emerg]", "exited on signal"];
                fatal.iter().any(|word| line.contains(word))
            })
            .filter(|line| !self.allowed.iter().any(|text| line.contains(text.as_str())))
            // A graceful end that was cut short leaves connections behind, and nginx says so.
            .filter(|line| !(self.process.was_forced() && line.contains("open socket #")))
            .map(str::to_owned)
            .collect();
        let cores = fs::read_dir(&self.dir.0).into_iter().flatten().flatten();
        found.extend(
            cores
                .map(|entry| entry.file_name().to_string_lossy().into_owned())
                .filter(|name| name.starts_with("core")),
        );
        found
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.process.stop();
        if std::thread::panicking() {
            eprintln!("--- {}\n{}", self.dir.0.join("error.log").display(), self.error_log());
            return;
        }
        let complaints = self.complaints();
        assert!(complaints.is_empty(), "nginx complained:\n{}", complaints.join("\n"));
        self.process.check_end();
        valgrind::verdict(&self.dir.0);
    }
}

impl Seen {
    /// The JSON object of this request.
    pub fn diagnosis(&self) -> &crate::Diagnosis {
        self.line.diagnosis()
    }

    /// The header may know less than the log (it is sent earlier), but nothing else.
    fn check(&self) {
        let members = self.reply.members();
        let Some(diagnosis) = &self.line.diagnosis else {
            assert!(members.is_empty(), "a header, but no JSON: {}", self.reply);
            return;
        };
        if members.first().is_some_and(|m| !m.params.is_empty() && !m.is("truncated")) {
            for (member, attempt) in members.iter().zip(&diagnosis.attempts) {
                log::check_member(member, attempt);
            }
        }
    }
}
