//! Against answers of Linux 6.18.

use super::*;

/// 127.0.0.1:3000, one connection waiting of seven.
const V4: &str = "7c0000001400020001000000b4640000020a00000bb800007f000001000000000000000000000000\
    00000000000000000000000000000000000000000110000000000000000000000100000007000000000000008bb34f00\
    050008000000000008000f00000000000c00150001000000000000000600160052000000";
/// [::]:3000 with IPV6_V6ONLY, none of nine.
const V6_ONLY: &str = "840000001400020001000000b46400000a0a00000bb8000000000000000000000000000000000000\
    000000000000000000000000000000000000000000210000000000000000000000000000090000000000000\
    08db34f00050008000000000005000b000100000008000f00000000000c00150001000000000000000600160012000000";
/// [::]:3001 without.
const DUAL: &str = "840000001400020001000000b46400000a0a00000bb9000000000000000000000000000000000000\
    000000000000000000000000000000000000000000310000000000000000000000000000090000000000000091b34f00\
    050008000000000005000b000000000008000f00000000000c00150001000000000000000600160012000000";
const DONE: &str = "140000000300020001000000b464000000000000";
/// A family without a handler: ENOENT.
const ERROR: &str = "5c0000000200000001000000b4640000feffffff480000001400010301000000000000002c060000\
    000400000bb90000000000000000000000000000000000000000000000000000000000000000000000000000ffffffff\
    ffffffff";

/// The type of the route to 127.0.0.5, 8.8.8.8 by a gateway, 8.8.8.8 without one (ENETUNREACH), ::1.
const ROUTES: [(&str, Option<bool>); 4] = [
    (
        "680000001800000001000000b464000002200000fe0000020002008008000f00fe000000080001007f000005",
        Some(true),
    ),
    (
        "700000001800000001000000de64000002200000fe0000010002000008000f00fe0000000800010008080808",
        Some(false),
    ),
    (
        "380000000200000001000000b46400009bffffff240000001a00010001000000000000000220000000000000\
         000000000800010008080808",
        None,
    ),
    ("9c0000001800000001000000b46400000a808000ff0200020000000008000f00ff000000", Some(true)),
];

#[cfg(target_endian = "little")]
mod recorded {
    use super::*;

    #[test]
    fn listeners_of_both_families() {
        let mut found = Vec::new();
        let datagrams = [bytes(V4), bytes(V6_ONLY), [bytes(DUAL), bytes(DONE)].concat()];
        let progress: Vec<_> =
            datagrams.iter().map(|datagram| read_listeners(datagram, &mut found)).collect();
        assert_eq!(progress, [Progress::More, Progress::More, Progress::Done]);
        let listener = |address: &str, ipv6_only, waiting, limit| Listener {
            address: address.parse().unwrap(),
            ipv6_only,
            one_interface: false,
            queue: Some(Queue { waiting, limit }),
        };
        let expected = [
            listener("127.0.0.1:3000", None, 1, 7),
            listener("[::]:3000", Some(true), 0, 9),
            listener("[::]:3001", Some(false), 0, 9),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_connection_is_no_listener() {
        let mut established = bytes(V4);
        established[17] = 1;
        assert_eq!(read_listeners(&established, &mut Vec::new()), Progress::Failed);
    }

    #[test]
    fn a_refusal_is_no_answer() {
        assert_eq!(read_listeners(&bytes(ERROR), &mut Vec::new()), Progress::Missing);
        let mut denied = bytes(ERROR);
        denied[16..20].copy_from_slice(&(-13_i32).to_ne_bytes());
        assert_eq!(read_listeners(&denied, &mut Vec::new()), Progress::Failed);
    }

    #[test]
    fn routes_are_local_or_not() {
        for (route, local) in ROUTES {
            let mut route = bytes(route);
            let length = u32::try_from(route.len()).unwrap();
            route[..4].copy_from_slice(&length.to_ne_bytes());
            assert_eq!(read_is_local(&route), local, "{route:x?}");
        }
    }

    #[test]
    fn requests_are_laid_out_as_the_kernel_reads_them() {
        // What the error echoes, but for the family.
        let echoed = &bytes(ERROR)[20..];
        let mut request = listeners_request(false, 3001);
        assert_eq!(request.len(), 72);
        request[16] = 0x2c;
        assert_eq!(request, echoed);
        let request = route_request("8.8.8.8".parse().unwrap());
        assert_eq!(request, bytes(ROUTES[2].0)[20..]);
        let request = lookup_request("127.0.0.1:3000".parse().unwrap());
        assert_eq!(request.len(), 72);
        assert_eq!(request[24..28], [0x0b, 0xb8, 0, 1]);
        assert_eq!(
            (&request[28..32], &request[44..48]),
            (&[127, 0, 0, 1][..], &[127, 0, 0, 1][..])
        );
        let request = route_request("::1".parse().unwrap());
        assert_eq!((request.len(), request[17]), (48, 128));
    }

    /// Every byte may be anything, and it may end anywhere.
    #[test]
    fn hostile_answers_are_survived() {
        for text in [V4, V6_ONLY, DUAL, ERROR, DONE, ROUTES[0].0] {
            let whole = bytes(text);
            for at in 0..whole.len() {
                for byte in [0, 1, 3, 4, 15, 16, 0x7f, 0xff] {
                    let mut changed = whole.clone();
                    changed[at] = byte;
                    read_listeners(&changed, &mut Vec::new());
                    let _ = read_is_local(&changed);
                }
                let cut = &whole[..at];
                assert_ne!(read_listeners(cut, &mut Vec::new()), Progress::Done, "{text}");
                assert_eq!(read_is_local(cut), None);
            }
        }
    }
}

#[test]
fn there_is_an_end_to_listeners() {
    if cfg!(target_endian = "little") {
        let mut found = Vec::new();
        let datagram = bytes(V4).repeat(MAX_LISTENERS + 1);
        assert_eq!(read_listeners(&datagram, &mut found), Progress::Done);
        assert_eq!(found.len(), MAX_LISTENERS);
    }
}

fn bytes(hex: &str) -> Vec<u8> {
    let digit = |digit: &u8| u8::try_from(char::from(*digit).to_digit(16).unwrap()).unwrap();
    hex.as_bytes().chunks(2).map(|pair| digit(&pair[0]) << 4 | digit(&pair[1])).collect()
}
