//! Every test of the module in a real nginx: one binary, a topic per file.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::wildcard_enum_match_arm,
    reason = "tests report a problem by panicking"
)]

mod body;
mod cache;
mod checklist;
mod client;
mod config;
mod connect;
mod docs;
mod docs_conf;
mod error_logs;
mod evidence_access;
mod evidence_container;
mod evidence_cost;
mod evidence_cost_unix;
mod evidence_degrade;
mod evidence_ended;
mod evidence_listen;
mod evidence_peers;
mod evidence_storm;
mod exhaustion;
mod expect;
mod fail_open;
mod fastcgi;
mod flows;
mod grpc;
mod harness;
mod harness_dns;
mod harness_load;
mod harness_names;
mod hostile;
mod hostile_names;
mod inheritance;
mod inner;
mod keepalive;
mod lifecycle;
mod limits;
mod lint;
mod lint_container;
mod lint_limits;
mod lint_upstreams;
mod local;
mod moved;
mod moves;
mod protocol;
mod protocols;
mod reresolve;
mod reresolve_aside;
mod reresolve_backup;
mod reresolve_balancers;
mod reresolve_bodies;
mod reresolve_busy;
mod reresolve_conf;
mod reresolve_each_protocol;
mod reresolve_exhaustion;
mod reresolve_fail_open;
mod reresolve_failures;
mod reresolve_families;
mod reresolve_flip;
mod reresolve_four_six;
mod reresolve_hostile;
mod reresolve_in_flight;
mod reresolve_keepalive;
mod reresolve_leave;
mod reresolve_lifecycle;
mod reresolve_protocols;
mod reresolve_records;
mod reresolve_scope;
mod reresolve_several;
mod reresolve_soak;
mod reresolve_spread;
mod reresolve_storm;
mod reresolve_system;
mod reresolve_tls;
mod reresolve_ttl;
mod reresolve_upstreams;
mod reresolve_verdict;
mod reresolve_wait;
mod resolve;
mod retry;
mod select;
mod send_header;
mod storm;
mod subrequests;
mod template;
mod tls;
mod tls_own_side;
mod trust;
mod unix_socket;
mod upgraded;
mod variables;
