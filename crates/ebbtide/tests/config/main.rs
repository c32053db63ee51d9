//! The configuration file: what it becomes, and what each mistake in it gets.

mod helpers;
mod load;
mod mistakes;
mod nbd;
mod outliers;
mod outside;
mod replicas;
mod settings;
mod tcp;
