//! Answers of a server that lies, and of others that pretend to be it.

use super::*;
use message::{A, FORMERR, NOTIMP, NXDOMAIN, REFUSED, Record, SERVFAIL, TRUNCATED, encoded};

const APP: &str = "app.test.";

fn address(owner: &str, address: &str) -> Record {
    Record::address(owner, address, 30)
}

/// What is made of an answer with these records for `app.test.`.
fn read(records: &[Record]) -> Option<Result<Answer, Failure>> {
    let records = records.to_vec();
    answered_so(move |asked| Reply::at_once(asked.reply(0, &records))).v4
}

#[test]
fn answers_as_they_should_be() {
    let outcome = answered_so(|asked| Reply::at_once(asked.address("10.0.0.7", 30)));
    assert_eq!(outcome.v4, found(&["10.0.0.7"], 30));
    assert_eq!(outcome.asked.len(), 1);
    let asked = &outcome.asked[0];
    assert_eq!((asked.name.as_str(), asked.kind, asked.edns), (APP, A, None));
    let several = ["10.0.0.3", "10.0.0.1", "10.0.0.2"];
    assert_eq!(read(&several.map(|one| address(APP, one))), found(&several, 30));
    assert_eq!(read(&[address("APP.Test.", "10.0.0.1")]), found(&["10.0.0.1"], 30));
}

#[test]
fn response_codes() {
    for (flags, wanted, questions) in [
        (0, Failure::NoData, 1),
        (NXDOMAIN, Failure::NotFound, 1),
        (SERVFAIL, Failure::ServerFailure, 1),
        (REFUSED, Failure::Refused, 1),
        (FORMERR, Failure::FormatError, 1),
        (NOTIMP, Failure::NotImplemented, 1),
        (9, Failure::Other, 1),
        (15, Failure::Other, 1),
    ] {
        let outcome = answered_so(move |asked| Reply::at_once(asked.reply(flags, &[])));
        assert_eq!(outcome.v4, Some(Err(wanted)), "{flags}");
        assert_eq!(outcome.asked.len(), questions, "{flags}");
        assert_eq!(outcome.took_ms, 0);
        // An error with addresses is an error.
        let outcome = answered_so(move |asked| {
            Reply::at_once(asked.reply(flags, &[address(APP, "10.0.0.1")]))
        });
        assert_eq!(outcome.v4.is_some_and(|result| result.is_ok()), flags == 0, "{flags}");
    }
}

#[test]
fn the_least_time_to_live_counts() {
    let records = [
        Record::alias(APP, "a.test.", 40),
        Record::alias("a.test.", "b.test.", 20),
        Record::address("b.test.", "10.0.0.1", 30),
        Record::address("b.test.", "10.0.0.2", 25),
        Record::address("other.test.", "10.0.0.3", 1),
    ];
    assert_eq!(read(&records), found(&["10.0.0.1", "10.0.0.2"], 20));
    let reversed: Vec<_> = records.into_iter().rev().collect();
    assert_eq!(read(&reversed), found(&["10.0.0.2", "10.0.0.1"], 20));
    for (ttl_s, wanted) in [(0, 0), (u32::MAX >> 1, u32::MAX >> 1), (u32::MAX, 0)] {
        assert_eq!(read(&[Record::address(APP, "10.0.0.1", ttl_s)]), found(&["10.0.0.1"], wanted));
    }
}

#[test]
fn records_of_other_names_are_nobodys() {
    for owner in ["other.test.", "a.app.test.", "test.", ".", "app.test.test."] {
        let other = address(owner, "10.6.6.6");
        let mixed = [other.clone(), address(APP, "10.0.0.1"), other.clone()];
        assert_eq!(read(&mixed), found(&["10.0.0.1"], 30), "{owner}");
        assert_eq!(read(&[other]), Some(Err(Failure::NoData)), "{owner}");
    }
    // Nor are the name's own in another section, of another class, or of another kind.
    let own = [address(APP, "10.6.6.6")];
    for sections in [[&[][..], &own, &[]], [&[], &[], &own]] {
        let sections = sections.map(<[Record]>::to_vec);
        let outcome = answered_so(move |asked| {
            let [answer, authority, more] = &sections;
            Reply::at_once(asked.reply_in(0, &[answer, authority, more]))
        });
        assert_eq!(outcome.v4, Some(Err(Failure::NoData)));
    }
    let six = address(APP, "fd00::1");
    assert_eq!(read(&[six]), Some(Err(Failure::NoData)));
    let chaos = answered_so(|asked| {
        let mut bytes = asked.address("10.0.0.1", 30);
        let class = bytes.len() - 11;
        assert_eq!(bytes[class], 1);
        bytes[class] = 3;
        Reply::at_once(bytes)
    });
    assert_eq!(chaos.v4, Some(Err(Failure::Malformed)));
}

#[test]
fn aliases_that_lead_elsewhere() {
    let outcome = answered_so(|asked| {
        Reply::at_once(match asked.name.as_str() {
            APP => {
                asked.reply(0, &[Record::alias(APP, "far.test.", 10), address("x.", "10.6.6.6")])
            }
            "far.test." => asked.address("10.0.0.1", 30),
            other => panic!("{other}"),
        })
    });
    assert_eq!(outcome.v4, found(&["10.0.0.1"], 10));
    assert_eq!(outcome.asked.len(), 2);
    // The server has looked there itself: not another question.
    for flags in [0, NXDOMAIN] {
        let outcome = answered_so(move |asked| {
            let answer = [Record::alias(APP, "far.test.", 10)];
            let authority = [Record::start_of_authority("test.")];
            Reply::at_once(asked.reply_in(flags, &[&answer, &authority, &[]]))
        });
        let wanted = if flags == 0 { Failure::NoData } else { Failure::NotFound };
        assert_eq!(outcome.v4, Some(Err(wanted)));
        assert_eq!(outcome.asked.len(), 1);
    }
}

#[test]
fn aliases_without_an_end() {
    let itself = [Record::alias(APP, APP, 10)];
    let circle = [Record::alias(APP, "b.test.", 10), Record::alias("b.test.", APP, 10)];
    assert_eq!(read(&itself), Some(Err(Failure::Malformed)));
    assert_eq!(read(&circle), Some(Err(Failure::Malformed)));
    let long: Vec<_> = (0..40)
        .map(|n| Record::alias(&format!("n{n}."), &format!("n{}.", n + 1), 10))
        .chain([Record::alias(APP, "n0.", 10)])
        .collect();
    assert_eq!(read(&long), Some(Err(Failure::Malformed)));
    // One further with each question.
    let outcome = answered_so(|asked| {
        let next = format!("a.{}", asked.name);
        Reply::at_once(asked.reply(0, &[Record::alias(&asked.name, &next, 10)]))
    });
    assert_eq!(outcome.v4, Some(Err(Failure::Malformed)));
    assert_eq!(outcome.asked.len(), 8);
}

/// The right answer comes 100 ms later, and is believed.
fn forged_first(forged: impl Fn(&Asked) -> Reply + 'static) {
    let outcome = answered_so(move |asked| {
        vec![forged(asked), Reply::after(100, asked.address("10.0.0.1", 30))]
    });
    assert_eq!(outcome.v4, found(&["10.0.0.1"], 30));
    assert_eq!((outcome.took_ms, outcome.asked.len()), (100, 1));
}

#[test]
fn answers_to_other_questions_are_waited_past() {
    let forgery = |asked: &Asked| asked.address("10.6.6.6", 30);
    forged_first(move |asked| {
        Reply::after(0, forgery(&Asked { id: asked.id.wrapping_add(1), ..asked.clone() }))
    });
    forged_first(move |asked| {
        Reply::after(0, forgery(&Asked { name: "evil.test.".into(), ..asked.clone() }))
    });
    forged_first(move |asked| Reply::after(0, asked.reply(0, &[])[..1].to_vec()));
    for from in ["10.9.0.1:54", "10.9.0.2:53", "[fd00::1]:53"] {
        forged_first(move |asked| Reply {
            from: Some(from.parse().unwrap()),
            ..Reply::after(0, forgery(asked))
        });
    }
}

#[test]
fn an_answer_to_another_question_over_tcp_is_none() {
    let outcome = answered_so(|asked| {
        Reply::at_once(if asked.tcp {
            let other = Asked { name: "evil.test.".into(), ..asked.clone() };
            other.reply(0, &[address(APP, "10.6.6.6")])
        } else {
            asked.reply(TRUNCATED, &[])
        })
    });
    assert_eq!(outcome.v4, Some(Err(Failure::Malformed)));
}

#[test]
fn a_cut_answer_is_asked_for_over_tcp() {
    let many: Vec<String> = (0..200).map(|n| format!("10.0.1.{n}")).collect();
    let records: Vec<_> = many.iter().map(|one| address(APP, one)).collect();
    let outcome = answered_so(move |asked| {
        Reply::at_once(if asked.tcp {
            asked.reply(0, &records)
        } else {
            asked.reply(TRUNCATED, &records[..2])
        })
    });
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(outcome.v4, found(&many, 30));
    let tcp: Vec<bool> = outcome.asked.iter().map(|asked| asked.tcp).collect();
    assert_eq!(tcp, [false, true]);
    // Cut there too.
    let outcome = answered_so(|asked| Reply::at_once(asked.reply(TRUNCATED, &[])));
    assert_eq!(outcome.v4, Some(Err(Failure::Malformed)));
    // Ended there.
    let outcome = answered_so(|asked| {
        Reply::at_once(if asked.tcp { vec![] } else { asked.reply(TRUNCATED, &[]) })
    });
    assert!(matches!(outcome.v4, Some(Err(Failure::Malformed | Failure::Unreachable))));
}

#[test]
fn more_than_was_asked_for() {
    let records: Vec<_> = (0..=255).map(|n| address(APP, &format!("10.0.2.{n}"))).collect();
    let outcome = answered_so(move |asked| Reply::at_once(asked.reply(0, &records)));
    // 4 kB over UDP, where 512 bytes were said to have room (RFC 1035, section 4.2.1).
    assert_eq!(outcome.v4, Some(Err(Failure::Malformed)));
    // 3,000 addresses over TCP.
    let records: Vec<_> =
        (0..3000).map(|n| address("a.", &format!("10.1.{}.{}", n >> 8, n & 255))).collect();
    let outcome = answered_so(move |asked| {
        let mut records = records.clone();
        records.insert(0, Record::alias(APP, "a.", 30));
        Reply::at_once(if asked.tcp {
            asked.reply(0, &records)
        } else {
            asked.reply(TRUNCATED, &[])
        })
    });
    assert_eq!(outcome.v4.unwrap().unwrap().addresses.len(), 255);
}

#[test]
fn bytes_of_any_kind() {
    let mut random = crate::random::Random::new(5);
    for _ in 0..2000 {
        let seed = random.next();
        let outcome = answered_so(move |asked| {
            let mut random = crate::random::Random::new(seed);
            let records = [Record::alias(APP, "b.", 9), address("b.", "10.0.0.1")];
            let mut bytes = asked.reply(0, &records);
            for _ in 0..=random.next() % 4 {
                let [at, value, ..] = random.next().to_le_bytes();
                let places = bytes.len() - 2;
                bytes[2 + usize::from(at) % places] = value;
            }
            if random.next().is_multiple_of(4) {
                bytes.truncate(2 + usize::from(random.next().to_le_bytes()[0]) % bytes.len());
            }
            Reply::at_once(bytes)
        });
        if let Some(Ok(answer)) = outcome.v4 {
            assert!((1..=2).contains(&answer.addresses.len()));
        }
        assert!(outcome.asked.len() <= 9, "{}", outcome.asked.len());
        assert!(outcome.took_ms <= 2000);
    }
}

#[test]
fn compression_that_points_to_itself() {
    let outcome = answered_so(|asked| {
        let mut bytes = asked.reply(0, &[]);
        bytes[7] = 1;
        let here = u8::try_from(bytes.len()).unwrap();
        bytes.extend([0xc0, here, 0, 1, 0, 1, 0, 0, 0, 30, 0, 4, 10, 0, 0, 1]);
        Reply::at_once(bytes)
    });
    assert_eq!(outcome.v4, Some(Err(Failure::Malformed)));
    assert_eq!(encoded("a.b."), [1, b'a', 1, b'b', 0]);
}
