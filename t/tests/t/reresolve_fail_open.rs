//! A bug in re-resolution costs a request its recovery, and nothing else.

use crate::moved::Moved;

#[test]
fn a_panic_where_the_balancer_is_asked_or_told() {
    for point in ["peer_get", "peer_free"] {
        let moved = Moved::start();
        let location = format!("upstream_diagnosis_test_panic {point};");
        let nginx = moved.nginx().set("location", location);
        let nginx = nginx
            .set("server", "location /sane { proxy_pass http://backend; }")
            .allow_alert("upstream diagnosis: internal error at ")
            .start();
        let seen = nginx.fetch("/");
        assert_eq!(seen.reply.status, 502, "{point}");
        assert_eq!(seen.reply.causes(), ["connection_refused"], "{point}");
        nginx.wait_for_error("internal error at ");
        // The same worker recovers whatever does not make it panic.
        let seen = nginx.fetch("/sane");
        assert_eq!((seen.reply.status, seen.reply.text().as_str()), (200, "new"), "{point}");
    }
}
