#!/bin/bash
x=1 \