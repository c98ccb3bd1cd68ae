//! Worlds in which things go wrong that loopback and root never see. All of it needs root.

pub mod acl;
pub mod disk;
pub mod etc;
pub mod landlock;
pub mod mounts;
mod netlink;
pub mod netns;
pub(crate) mod seccomp;
pub mod world;

pub use disk::SmallDisk;
pub use etc::Etc;
pub use landlock::Landlock;
pub use world::World;
