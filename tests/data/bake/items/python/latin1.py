# -*- coding: latin-1 -*-
NAME = 'Müller'
