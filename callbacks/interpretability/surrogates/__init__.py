"""Simpler models in the place of the network: trees and linear functions."""
