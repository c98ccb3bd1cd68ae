//! Tests of the whole: what is known of real failures, and what nobody foresaw.

mod corpus;
mod hostile;
