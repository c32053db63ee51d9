//! The configuration file: what it becomes, and what each mistake in it gets.

mod agent;
mod helpers;
mod load;
mod mistakes;
mod names;
mod nbd;
mod openid;
mod outliers;
mod outside;
mod replicas;
mod returning;
mod settings;
mod tcp;
