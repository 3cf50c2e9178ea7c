//! Whole files in, whole reports out.

mod accepted;
mod base;
mod cases_across;
mod cases_item;
mod examples;
mod mutated;
mod shown;
