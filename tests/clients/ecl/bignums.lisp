;;; bignums.lisp - large integers, ratios and floats.
(defun factorial (n)
  (let ((product 1)) (loop for i from 1 to n do (setf product (* product i))) product))

(defun fibonacci (n)
  (let ((a 0) (b 1)) (dotimes (i n a) (psetf a b b (+ a b)))))

(defun harmonic (n)
  (let ((sum 0)) (loop for i from 1 to n do (incf sum (/ i))) sum))

(defun power-sum (n)
  (let ((sum 0)) (dotimes (i n sum) (setf sum (mod (+ sum (expt 7 i)) (expt 10 40))))))

(defun floats (n)
  (let ((sum 0d0)) (dotimes (i n (round (* 1000 sum))) (incf sum (sqrt (coerce i 'double-float))))))

(defun main (rounds)
  (dotimes (i rounds)
    (format t "~a ~a ~a ~a ~a ~a~%" i
            (mod (factorial (+ 900 i)) 1000003)
            (length (princ-to-string (fibonacci (+ 6000 i))))
            (mod (numerator (harmonic (+ 300 i))) 1000003)
            (power-sum (+ 400 i))
            (floats 20000))))
