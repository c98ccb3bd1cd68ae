//! The system's error numbers, by the names that Linux gives them.

/// An `errno` value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errno(pub i32);

impl Errno {
    /// 1.
    pub const EPERM: Self = Self(1);
    /// 2.
    pub const ENOENT: Self = Self(2);
    /// 4.
    pub const EINTR: Self = Self(4);
    /// 5.
    pub const EIO: Self = Self(5);
    /// 6.
    pub const ENXIO: Self = Self(6);
    /// 9.
    pub const EBADF: Self = Self(9);
    /// 11.
    pub const EAGAIN: Self = Self(11);
    /// 12.
    pub const ENOMEM: Self = Self(12);
    /// 13.
    pub const EACCES: Self = Self(13);
    /// 14.
    pub const EFAULT: Self = Self(14);
    /// 16.
    pub const EBUSY: Self = Self(16);
    /// 17.
    pub const EEXIST: Self = Self(17);
    /// 18.
    pub const EXDEV: Self = Self(18);
    /// 19.
    pub const ENODEV: Self = Self(19);
    /// 20.
    pub const ENOTDIR: Self = Self(20);
    /// 21.
    pub const EISDIR: Self = Self(21);
    /// 22.
    pub const EINVAL: Self = Self(22);
    /// 23.
    pub const ENFILE: Self = Self(23);
    /// 24.
    pub const EMFILE: Self = Self(24);
    /// 26.
    pub const ETXTBSY: Self = Self(26);
    /// 27.
    pub const EFBIG: Self = Self(27);
    /// 28.
    pub const ENOSPC: Self = Self(28);
    /// 29.
    pub const ESPIPE: Self = Self(29);
    /// 30.
    pub const EROFS: Self = Self(30);
    /// 31.
    pub const EMLINK: Self = Self(31);
    /// 32.
    pub const EPIPE: Self = Self(32);
    /// 36.
    pub const ENAMETOOLONG: Self = Self(36);
    /// 40.
    pub const ELOOP: Self = Self(40);
    /// 71.
    pub const EPROTO: Self = Self(71);
    /// 75.
    pub const EOVERFLOW: Self = Self(75);
    /// 84.
    pub const EILSEQ: Self = Self(84);
    /// 88.
    pub const ENOTSOCK: Self = Self(88);
    /// 89.
    pub const EDESTADDRREQ: Self = Self(89);
    /// 90.
    pub const EMSGSIZE: Self = Self(90);
    /// 91.
    pub const EPROTOTYPE: Self = Self(91);
    /// 92.
    pub const ENOPROTOOPT: Self = Self(92);
    /// 93.
    pub const EPROTONOSUPPORT: Self = Self(93);
    /// 94.
    pub const ESOCKTNOSUPPORT: Self = Self(94);
    /// 95.
    pub const EOPNOTSUPP: Self = Self(95);
    /// 96.
    pub const EPFNOSUPPORT: Self = Self(96);
    /// 97.
    pub const EAFNOSUPPORT: Self = Self(97);
    /// 98.
    pub const EADDRINUSE: Self = Self(98);
    /// 99.
    pub const EADDRNOTAVAIL: Self = Self(99);
    /// 100.
    pub const ENETDOWN: Self = Self(100);
    /// 101.
    pub const ENETUNREACH: Self = Self(101);
    /// 102.
    pub const ENETRESET: Self = Self(102);
    /// 103.
    pub const ECONNABORTED: Self = Self(103);
    /// 104.
    pub const ECONNRESET: Self = Self(104);
    /// 105.
    pub const ENOBUFS: Self = Self(105);
    /// 106.
    pub const EISCONN: Self = Self(106);
    /// 107.
    pub const ENOTCONN: Self = Self(107);
    /// 108.
    pub const ESHUTDOWN: Self = Self(108);
    /// 110.
    pub const ETIMEDOUT: Self = Self(110);
    /// 111.
    pub const ECONNREFUSED: Self = Self(111);
    /// 112.
    pub const EHOSTDOWN: Self = Self(112);
    /// 113.
    pub const EHOSTUNREACH: Self = Self(113);
    /// 114.
    pub const EALREADY: Self = Self(114);
    /// 115.
    pub const EINPROGRESS: Self = Self(115);
    /// 116.
    pub const ESTALE: Self = Self(116);
    /// 122.
    pub const EDQUOT: Self = Self(122);
    /// 125.
    pub const ECANCELED: Self = Self(125);

    /// Its symbolic name; `None` for a number that is not in the table.
    pub const fn name(self) -> Option<&'static str> {
        Some(match self {
            Self::EPERM => "EPERM",
            Self::ENOENT => "ENOENT",
            Self::EINTR => "EINTR",
            Self::EIO => "EIO",
            Self::ENXIO => "ENXIO",
            Self::EBADF => "EBADF",
            Self::EAGAIN => "EAGAIN",
            Self::ENOMEM => "ENOMEM",
            Self::EACCES => "EACCES",
            Self::EFAULT => "EFAULT",
            Self::EBUSY => "EBUSY",
            Self::EEXIST => "EEXIST",
            Self::EXDEV => "EXDEV",
            Self::ENODEV => "ENODEV",
            Self::ENOTDIR => "ENOTDIR",
            Self::EISDIR => "EISDIR",
            Self::EINVAL => "EINVAL",
            Self::ENFILE => "ENFILE",
            Self::EMFILE => "EMFILE",
            Self::ETXTBSY => "ETXTBSY",
            Self::EFBIG => "EFBIG",
            Self::ENOSPC => "ENOSPC",
            Self::ESPIPE => "ESPIPE",
            Self::EROFS => "EROFS",
            Self::EMLINK => "EMLINK",
            Self::EPIPE => "EPIPE",
            Self::ENAMETOOLONG => "ENAMETOOLONG",
            Self::ELOOP => "ELOOP",
            Self::EPROTO => "EPROTO",
            Self::EOVERFLOW => "EOVERFLOW",
            Self::EILSEQ => "EILSEQ",
            Self::ENOTSOCK => "ENOTSOCK",
            Self::EDESTADDRREQ => "EDESTADDRREQ",
            Self::EMSGSIZE => "EMSGSIZE",
            Self::EPROTOTYPE => "EPROTOTYPE",
            Self::ENOPROTOOPT => "ENOPROTOOPT",
            Self::EPROTONOSUPPORT => "EPROTONOSUPPORT",
            Self::ESOCKTNOSUPPORT => "ESOCKTNOSUPPORT",
            Self::EOPNOTSUPP => "EOPNOTSUPP",
            Self::EPFNOSUPPORT => "EPFNOSUPPORT",
            Self::EAFNOSUPPORT => "EAFNOSUPPORT",
            Self::EADDRINUSE => "EADDRINUSE",
            Self::EADDRNOTAVAIL => "EADDRNOTAVAIL",
            Self::ENETDOWN => "ENETDOWN",
            Self::ENETUNREACH => "ENETUNREACH",
            Self::ENETRESET => "ENETRESET",
            Self::ECONNABORTED => "ECONNABORTED",
            Self::ECONNRESET => "ECONNRESET",
            Self::ENOBUFS => "ENOBUFS",
            Self::EISCONN => "EISCONN",
            Self::ENOTCONN => "ENOTCONN",
            Self::ESHUTDOWN => "ESHUTDOWN",
            Self::ETIMEDOUT => "ETIMEDOUT",
            Self::ECONNREFUSED => "ECONNREFUSED",
            Self::EHOSTDOWN => "EHOSTDOWN",
            Self::EHOSTUNREACH => "EHOSTUNREACH",
            Self::EALREADY => "EALREADY",
            Self::EINPROGRESS => "EINPROGRESS",
            Self::ESTALE => "ESTALE",
            Self::EDQUOT => "EDQUOT",
            Self::ECANCELED => "ECANCELED",
            Self(_) => return None,
        })
    }
}
