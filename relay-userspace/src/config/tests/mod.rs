//! Whole files in, whole reports out.

mod accepted;
mod base;
mod cases_across;
mod cases_item;
mod cases_lists;
mod cases_policy;
mod examples;
mod mutated;
mod policy;
mod shown;
