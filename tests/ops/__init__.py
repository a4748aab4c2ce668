"""Tests of the tensor ops."""
