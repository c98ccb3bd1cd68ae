//! Small files of procfs and sysfs. Each needs a descriptor for a moment; when there is none left,
//! no such file or no right to read it, there is nothing to tell.

use std::fs::File;
use std::io::Read;

/// No file is read further.
const MAX_BYTES: u64 = 64 * 1024;

/// The beginning of a file; `None` when it is not there or may not be read.
pub(crate) fn read(path: &str) -> Option<Vec<u8>> {
    // Some files are made anew for each read(2), so there should be few.
    let mut text = Vec::with_capacity(8 * 1024);
    File::open(path).ok()?.take(MAX_BYTES).read_to_end(&mut text).ok()?;
    Some(text)
}
