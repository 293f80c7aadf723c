"""Hostile trees and independent judges; nothing in here imports gitstate."""
