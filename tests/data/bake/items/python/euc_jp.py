# coding: euc-jp
名 = '日本'
