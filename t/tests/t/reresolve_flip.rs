//! A host name moves under load, and no request notices.

use nginx_test::dns::Kind;
use nginx_test::flip::{By, Flip, Flipped};
use nginx_test::{Load, env};

fn flip(by: By, ttl: u32, keepalive: bool) -> Flip {
    Flip { by, ttl, keepalive, answers: 200 }
}

/// Nothing failed, and each worker asked at most once for each family.
fn unnoticed(flipped: &Flipped) {
    assert_eq!(flipped.report.failed(), 0, "{flipped}");
    assert_eq!(flipped.report.answered_by().len(), 2, "{flipped}");
    for kind in [Kind::A, Kind::Aaaa] {
        let asked = flipped.questions.iter().filter(|question| question.kind == kind).count();
        assert!(asked <= 2, "{asked} questions of {kind:?}: {flipped}");
    }
}

#[test]
fn at_200_requests_a_second() {
    for keepalive in [false, true] {
        unnoticed(&flip(By::Module("failure"), 30, keepalive).under(|load| load.rate(200)));
    }
}

#[test]
fn as_fast_as_one_client_can() {
    for keepalive in [false, true] {
        unnoticed(&flip(By::Module("failure"), 30, keepalive).under(Load::keepalive));
    }
}

/// What this is held against; it also shows that the harness sees requests fail.
#[test]
fn nginx_s_own_resolve_loses_requests() {
    if env::nginx_version() < (1, 27, 3) {
        return;
    }
    let flipped = flip(By::Nginx, 2, true).under(|load| load.rate(200));
    assert!(flipped.report.failed() > 0, "{flipped}");
}
